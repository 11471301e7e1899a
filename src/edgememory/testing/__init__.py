"""For those who write a backend or test an agent: contracts, clock, faults, strategies, a fixture."""
