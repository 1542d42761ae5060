"""The scripts of pages, which stand inside them."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files


def script(*names: str) -> dict[str, str]:
    """The text of scripts that lie beside this file, and its hash for the Content-Security-Policy."""
    text = "\n".join(files("medseg.reports").joinpath(name).read_text("utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return {"script": text, "script_hash": digest}
