"""Values of an image made alike."""
