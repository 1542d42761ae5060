"""Every error that medseg raises on purpose.

MedsegError                 exit code 1 at the command line
├── UsageError              2   an unknown task, key, split or option
├── InputError              3   an input that can't be segmented
│   ├── UnreadableError     3   no picture or volume in it: missing, empty, truncated, unknown format
│   └── UnsuitableError     3   readable, but not what the task was made for
├── DataError               1   a training or evaluation data set that can't be trusted
│   └── LabelError          1   a label of the wrong size or with unknown values
├── ArchiveAwayError        1   an archive that can't be reached or is out of order: worth another try
├── ArchiveRefusedError     3   an archive that says no, or hasn't what was asked for
└── BundleError             1   a bundle that is incomplete or inconsistent
    └── WeightsError        1   weights that are missing, don't fit or aren't the pinned ones

Each message says what was expected, what was got, and what to do. No message names a patient.
"""

from __future__ import annotations

import os
from collections.abc import Iterable


class MedsegError(Exception):
    """The base of all errors raised on purpose.

    Args:
        expected: what medseg needed, as a noun phrase.
        got: what it got instead.
        advice: the next step for the user, as a sentence.
    """

    exit_code = 1

    def __init__(self, expected: str, *, got: str, advice: str) -> None:
        self.expected, self.got, self.advice = expected, got, advice
        super().__init__(f"expected {expected}; got {got}. {advice}")


class UsageError(MedsegError):
    exit_code = 2


class InputError(MedsegError):
    exit_code = 3


class UnreadableError(InputError):
    pass


class UnsuitableError(InputError):
    pass


class DataError(MedsegError):
    pass


class LabelError(DataError):
    pass


class ArchiveAwayError(MedsegError):
    pass


class ArchiveRefusedError(MedsegError):
    exit_code = 3


class BundleError(MedsegError):
    pass


class WeightsError(BundleError):
    pass


def error_text(error: BaseException) -> str:
    """The text that a user reads. Of an unforeseen error it gives the type and the place, never the message.

    Libraries quote what they read in their messages, and that may be a patient's name.
    """
    import traceback

    if isinstance(error, MedsegError):
        return str(error)
    while error.__cause__ is not None:  # MONAI wraps the errors of transforms in its own
        error = error.__cause__
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = os.path.basename(place.filename)
    return f"medseg could not process it ({type(error).__name__} in {file}:{place.lineno})."


def file_error_text(error: OSError) -> str:
    """The text that a user reads about a file that can't be read or written."""
    got = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return (
        f"expected files that can be read and written; got {got}. "
        "Check the path, the rights and the free space."
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice after a misspelt name: the known names most like it, or all of them when none is alike."""
    import difflib

    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known names: {', '.join(known)}."
