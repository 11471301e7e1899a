"""What the agent is shown with where there is neither key nor server: a model of rules, a voice, a telephone line."""
