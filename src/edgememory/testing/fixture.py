"""The pytest plugin: loaded by every pytest run where edgememory is installed, so it imports almost nothing."""
