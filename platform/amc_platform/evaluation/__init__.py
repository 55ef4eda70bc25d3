"""Named protocols, the pointing game, box recall, per-phrase hits and their statistics."""
