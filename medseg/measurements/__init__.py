"""Mask to numbers with units: one module per organ, one entry per number."""

from medseg.measurements.lesions import lesion_instances, measure_lesions
from medseg.measurements.lungs import measure_lungs
from medseg.measurements.vessels import measure_vessels

__all__ = ["lesion_instances", "measure_lesions", "measure_lungs", "measure_vessels"]
