"""A memory layer for voice agents: each user's memory near the agent, the truth in Postgres far away."""
