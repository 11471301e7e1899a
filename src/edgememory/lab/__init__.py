"""The lab: real servers, links that are as slow as the real ones, and calls played through the library."""
