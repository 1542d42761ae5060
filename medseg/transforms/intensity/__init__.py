"""Normalization of an image's values."""
