"""Whether results of now have another distribution than those of a reference."""

from medseg.drift.check import check_drift

__all__ = ["check_drift"]
