"""Where changes wait until the origin has them, and what brings them there."""
