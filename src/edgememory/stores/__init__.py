"""Backends. Each loads its own driver; import the module of the one you use."""
