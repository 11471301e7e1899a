"""Turning a call into facts and a summary, after it."""
