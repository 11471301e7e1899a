"""What is played in each region: one module for each kind, and the playbook that lists them."""
