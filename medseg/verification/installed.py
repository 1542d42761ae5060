"""Whether a result was made by the bundle and the weights that are installed now."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from medseg.bundle import Bundle, configs_sha256, open_bundle, read_method, sha256
from medseg.errors import MedsegError
from medseg.stamp import Stamp, one_digest

SAME, OTHER, NONE, UNKNOWN = "the same", "another", "none", "unknown"


def compare_installed(stamp: Stamp) -> dict[str, str]:
    """ "bundle" and "weights" to whether they are the installed ones.

    "unknown" where there is no such bundle or method, or the result tells no digest; "none" for a method
    without weights.
    """
    bundle_sha256, weights_sha256 = _digests(stamp.task, stamp.method)
    return {
        "bundle": _compared(stamp.bundle_sha256, bundle_sha256),
        "weights": NONE if not stamp.weights_sha256 else _compared(stamp.weights_sha256, weights_sha256),
    }


def _compared(then: str, now: str) -> str:
    if not then or not now:
        return UNKNOWN
    return SAME if then == now else OTHER


@lru_cache(maxsize=64)
def _digests(task: str, method: str) -> tuple[str, str]:
    """Of the installed bundle's configuration and of the method's weights; empty where there are none."""
    bundle = _opened(task)
    if bundle is None:
        return "", ""
    try:
        file: Any = read_method(bundle, method).weights
    except MedsegError:
        file = None
    return configs_sha256(bundle), one_digest(sha256(file)) if file is not None and file.is_file() else ""


def _opened(task: str) -> Bundle | None:
    if not task.isidentifier():  # a record may hold any text, and a path would be opened
        return None
    try:
        return open_bundle(task)
    except MedsegError:
        return None
