"""The parts of the bot: each is short, and `bot.py` puts them together."""
