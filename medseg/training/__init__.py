"""A training from its first epoch to its scores: engines, checkpoints, folds."""
