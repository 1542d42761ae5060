"""Mask to numbers with units: one module per kind of structure, one entry per number."""

from medseg.measurements.areas import measure_areas
from medseg.measurements.dense_regions import DenseRegions
from medseg.measurements.lesions import lesion_instances, measure_lesions
from medseg.measurements.lungs import measure_lungs
from medseg.measurements.tissues import LungTissues
from medseg.measurements.vessel_segments import vessel_segments
from medseg.measurements.vessels import measure_vessels
from medseg.measurements.volumes import measure_volumes

__all__ = [
    "DenseRegions",
    "LungTissues",
    "lesion_instances",
    "measure_areas",
    "measure_lesions",
    "measure_lungs",
    "measure_vessels",
    "measure_volumes",
    "vessel_segments",
]
