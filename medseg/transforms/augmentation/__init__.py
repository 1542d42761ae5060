"""Random changes of an image, for training."""
