"""The error of a request that is not done, with the status that HTTP has for it."""

from __future__ import annotations

from medseg.errors import MedsegError


class Refusal(MedsegError):
    """A request that is not done.

    Args:
        status: of HTTP.
        reason: one word of a short list, for counting.
        retry_after_s: when it may be tried again; None where that does not help.
    """

    def __init__(
        self,
        expected: str,
        *,
        got: str,
        advice: str,
        status: int,
        reason: str,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(expected, got=got, advice=advice)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
