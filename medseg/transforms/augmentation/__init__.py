"""Random transforms of images, for training."""
