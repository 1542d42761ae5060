"""Read a bundle without executing anything of it, and tell what it would execute, load or reach for."""

from medseg.bundle.audit.findings import Finding, Report
from medseg.bundle.audit.run import audit_bundle, audit_files
from medseg.bundle.audit.trust import require_trusted

__all__ = ["Finding", "Report", "audit_bundle", "audit_files", "require_trusted"]
