"""Similar images: descriptors of cases, an index of them, nearest cases, and comparison of two images."""
