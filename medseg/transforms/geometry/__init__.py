"""From an image's grid to a network's and back: each beside its inverse."""
