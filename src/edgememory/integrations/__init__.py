"""Memory in the frameworks that voice agents are built with: a module for each, and an extra of its name."""
