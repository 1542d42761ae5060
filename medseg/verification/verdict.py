"""What is found of one case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from medseg.stamp import Stamp

AS_WRITTEN, CHANGED, NOT_STAMPED = "as written", "changed", "not stamped"


@dataclass(frozen=True)
class Checked:
    """One case.

    Attributes:
        case: the path of its folder below the one that was asked for, with slashes; or the name of that one.
        faults: what is not as it was written.
        doubts: what could not be told.
        notes: what a reader may want to know.
        stamp: the one in measurements.json; None where there is none.
        installed: "bundle" and "weights" to "the same", "another", "none" or "unknown", compared with those
            that are installed now.
    """

    case: str
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stamp: Stamp | None = None
    installed: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        if self.faults:
            return CHANGED
        return AS_WRITTEN if self.stamp else NOT_STAMPED

    @property
    def is_sure(self) -> bool:
        """Whether everything that was asked for is as it was written."""
        return self.state == AS_WRITTEN and not self.doubts

    @property
    def texts(self) -> Sequence[str]:
        """All sentences, the worst first."""
        return [*self.faults, *self.doubts, *self.notes]
