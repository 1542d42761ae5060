"""Manifests, training samples and their cache, and data that medseg makes itself."""
