"""Input gates: each refuses images that its task was not made for, and warns of unusual ones."""
