"""Processes that stay: each loads a model once and segments one case after the other.

`job` says what a case is and what became of it, `segmenters` runs one in this process, `pool` holds the
processes. A caller gives a Pool jobs and collects their outcomes; whether a case is tried again, and what is
written down about it, is the caller's.
"""

from medseg.workers.job import Job, Outcome, Settings
from medseg.workers.pool import Pool
from medseg.workers.segmenters import Segmenters, run_job

__all__ = ["Job", "Outcome", "Pool", "Segmenters", "Settings", "run_job"]
