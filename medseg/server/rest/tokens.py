"""Who may speak to the REST service: bearer tokens from a file, and the sessions of browsers.

The file holds a line `name:SHA-256` for each user, with the hexadecimal digest of the token; so who
reads the file has no token. Empty lines and lines that begin with # are left out. It is read
again when it has changed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from medseg.errors import MedsegError, UsageError

logger = logging.getLogger(__name__)

SESSION_S = 12 * 3600
_MOST_SESSIONS = 1000
_LINE = re.compile(r"([\w.@-]{1,64}):([0-9a-f]{64})")


def new_token(name: str) -> tuple[str, str]:
    """A token for a user, and the line of the file that lets it in.

    Raises:
        UsageError: the name has other characters than letters, digits, and one of . @ - _
    """
    token = secrets.token_urlsafe(32)
    line = f"{name}:{hashlib.sha256(token.encode()).hexdigest()}"
    if not _LINE.fullmatch(line):
        raise UsageError(
            "a name of at most 64 letters, digits, dots, hyphens and underscores",
            got=f"one of {len(name)} characters with others" if name else "nothing",
            advice="Choose another name.",
        )
    return token, line


class Tokens:
    """The tokens of a file.

    Args:
        path: the file.

    Raises:
        MedsegError: it can't be read, has no token, or has a line of another form. No line is quoted, because
            it may be a token that someone wrote down.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._seen = self._state()
        self._names = _read(self.path)
        _warn_of_rights(self.path)

    def name_of(self, token: str) -> str | None:
        """The user that has this token; None for nobody."""
        return self.name_of_digest(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())

    def name_of_digest(self, digest: str) -> str | None:
        """The user whose token has this SHA-256. All lines are compared, each in constant time."""
        found = None
        for known, name in self._current().items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _current(self) -> dict[str, str]:
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._names = _read(self.path)
                    _warn_of_rights(self.path)
                except MedsegError as error:
                    self._names = {}  # rather nobody than somebody whose line was just removed
                    logger.error("nobody is let in: %s", error)  # noqa: TRY400
            return self._names

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Sessions:
    """Browsers that have shown a token: a random number in a cookie stands for it, for 12 hours.

    They are kept in memory. A token that is removed from the file ends its sessions.
    """

    def __init__(self, tokens: Tokens, now: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._now = tokens, now
        self._open: dict[str, tuple[str, float]] = {}

    def begin(self, token: str) -> str | None:
        """A new session for a token; None for one that is not in the file."""
        if self._tokens.name_of(token) is None:
            return None
        session = secrets.token_urlsafe(32)
        while len(self._open) >= _MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        self._open[session] = (hashlib.sha256(token.encode()).hexdigest(), self._now() + SESSION_S)
        return session

    def name_of(self, session: str) -> str | None:
        """The user of an open session."""
        digest, until = self._open.get(session, ("", 0.0))
        if not digest or self._now() > until:
            self.end(session)
            return None
        return self._tokens.name_of_digest(digest)

    def end(self, session: str) -> None:
        self._open.pop(session, None)


def _read(path: Path) -> dict[str, str]:
    """SHA-256 to name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MedsegError(
            "a file of tokens",
            got=f"{path.name}, which can't be read ({type(error).__name__})",
            advice="Without it nobody is let in. Make it by `medseg serve --new-token NAME`.",
        ) from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line.strip())
        if parts is None:
            raise MedsegError(
                "lines of the form name:SHA-256 in the file of tokens",
                got=f"another one at line {number} of {path.name}",
                advice="Make a line by `medseg serve --new-token NAME`.",
            )
        found[parts[2]] = parts[1]
    if not found:
        raise MedsegError(
            "at least one token",
            got=f"none in {path.name}",
            advice="Make one by `medseg serve --new-token NAME`.",
        )
    return found


def _warn_of_rights(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        logger.warning("%s can be read or written by other users: `chmod 600` it", path.name)
