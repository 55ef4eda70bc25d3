"""Grounding tables: what they hold, how they are written and read, and the sources they are made from."""
