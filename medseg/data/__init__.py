"""Manifests, the samples that a training sees, their cache, and data that medseg makes."""
