"""Normalization and filters of an image's values."""
