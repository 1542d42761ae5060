"""Transforms from an image's grid to a network's, each beside its inverse."""
