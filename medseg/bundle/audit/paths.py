"""Paths and addresses that stand in a configuration."""

from __future__ import annotations

import re

from medseg.bundle.audit.findings import REFUSE, WARN

_URL = re.compile(r"\b(https?|ftp|s3|gs|file)://", re.IGNORECASE)
# Folders of the system, and files by which a program is started for a user.
_SYSTEM = re.compile(
    r"^(/(etc|usr|bin|sbin|boot|dev|proc|sys|root|lib\w*|var/(spool|lib|run))(/|$)"
    r"|[a-z]:[\\/](windows|program files))"
    r"|(^|[\\/])(\.ssh|\.bashrc|\.profile|\.bash_profile|\.zshrc|\.netrc|\.aws|\.gnupg|\.config|site-packages|"
    r"crontab|authorized_keys|sitecustomize\.py|usercustomize\.py)([\\/]|$)",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(r"^(/[\w.~-]|~|[a-z]:[\\/]|\\\\)", re.IGNORECASE)
_UPWARDS = re.compile(r"(^|[\\/])\.\.([\\/]|$)")
_MOST = 4096


def path_fault(text: str) -> tuple[str, str] | None:
    """Severity and reason for a text that is a path out of the bundle, or an address; None for any other."""
    if len(text) > _MOST or "\n" in text:
        return None
    if _URL.search(text):
        return WARN, "an address in the network"
    if _SYSTEM.search(text):
        return REFUSE, "a path into the system's or the user's settings"
    if _UPWARDS.search(text):
        return WARN, "a path that leads upwards, out of the bundle or the working directory"
    if _ABSOLUTE.search(text) and " " not in text:
        return WARN, "an absolute path"
    return None
