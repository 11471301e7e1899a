"""Known bugs, planted one by one: a suite that does not fail for each of them proves nothing."""
