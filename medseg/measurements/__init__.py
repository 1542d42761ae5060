"""Measurements with units from a mask: one module per organ, one entry per measurement."""

from medseg.measurements.lesions import lesion_instances, measure_lesions
from medseg.measurements.lungs import measure_lungs
from medseg.measurements.vessels import measure_vessels

__all__ = ["lesion_instances", "measure_lesions", "measure_lungs", "measure_vessels"]
