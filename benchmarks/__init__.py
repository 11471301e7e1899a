"""What edgememory costs, beside plain code that does the least that would do."""
