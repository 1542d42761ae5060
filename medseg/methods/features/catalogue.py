"""Every feature by its name."""

from __future__ import annotations

from medseg.methods.features import colour, contrast, edges, intensity, place, ridges, shape, texture
from medseg.methods.features.record import Feature

FEATURES: dict[str, Feature] = {
    feature.name: feature
    for module in (intensity, contrast, colour, edges, ridges, texture, place, shape)
    for feature in module.FEATURES
}
