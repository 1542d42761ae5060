"""What the command says: in any encoding, without a patient's name, as JSON that every program reads."""

from __future__ import annotations

import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError


def survive_any_encoding() -> None:
    """What the terminal's encoding lacks, or a file name that is no text, is shown as \\xfc or \\u773c.

    Otherwise the last line on a good result could be a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None without a terminal, others in notebooks
            stream.reconfigure(errors="backslashreplace")


def strict_json(record: dict[str, Any]) -> str:
    """In ASCII; the bytes of a file name that are no text become question marks, for JSON has no such."""
    text = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(json.loads(text), indent=2)


def told(error: BaseException) -> str:
    """What a user reads of an error: one that nobody foresaw shows its kind and place, never its text.

    Libraries quote what they read, which may be a patient's name.
    """
    if isinstance(error, MedsegError):
        return str(error)
    while error.__cause__ is not None:  # MONAI wraps what a transform raises
        error = error.__cause__
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"medseg could not process it ({type(error).__name__} in {Path(place.filename).name}:{place.lineno})."
    )
