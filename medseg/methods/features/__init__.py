"""Features of pixels and voxels: one stack for every classifier and clustering."""

from medseg.methods.features.stack import FeatureStack, standardised

__all__ = ["FeatureStack", "standardised"]
