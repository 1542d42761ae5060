"""The reports of a result: overlay.png, report.html and measurements.json."""

from medseg.reports.overlay import draw_overlay
from medseg.reports.page import write_page
from medseg.reports.panoptic import write_panoptic
from medseg.reports.record import write_record
from medseg.reports.volume_regions import draw_regions

__all__ = ["draw_overlay", "draw_regions", "write_page", "write_panoptic", "write_record"]
