"""Scores of a method on a split of a data set, and the comparison of two."""
