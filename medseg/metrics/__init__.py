"""Scores of masks and probabilities against references: overlap, surface, ROC, calibration, tests."""
