"""Methods that turn an image into scores: networks with their losses, and rules."""
