"""Each refuses an image that its task was not made for, and warns of what is odd about it."""
