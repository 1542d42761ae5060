"""What turns an image into scores: networks, their losses, and methods by rules."""
