"""What a command says: in any encoding, and as JSON that every program reads."""

from __future__ import annotations

import io
import sys
from typing import Any


def survive_any_encoding() -> None:
    """What the terminal's encoding lacks, or a file name that is no text, is shown as \\xfc or \\u773c.

    Otherwise the last line on a good result could be a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None without a terminal, others in notebooks
            stream.reconfigure(errors="backslashreplace")


def strict_json(record: dict[str, Any] | list[dict[str, Any]]) -> str:
    """In ASCII; the bytes of a file name that are no text become question marks, for JSON has no such."""
    import json

    text = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(json.loads(text), indent=2)
