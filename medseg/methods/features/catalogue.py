"""Every feature by its name."""

from __future__ import annotations

from medseg.methods.features import intensity
from medseg.methods.features.record import Feature

FEATURES: dict[str, Feature] = {feature.name: feature for feature in (*intensity.FEATURES,)}
