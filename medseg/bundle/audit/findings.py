"""What an audit tells: findings, each with its place, and the report of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

REFUSE, WARN, NOTE = "refuse", "warn", "note"
SEVERITIES = (REFUSE, WARN, NOTE)
_MOST_CHARACTERS = 160


@dataclass(frozen=True)
class Finding:
    """One thing in a bundle that a person should know before it runs.

    Attributes:
        severity: refuse (the bundle is not run unless it is trusted by name), warn or note.
        rule: what kind of thing, in one or two words.
        file: path inside the bundle.
        line: from 1; None where the file has no lines, such as weights.
        reason: what is wrong with it.
        text: the offending line or value, printable and at most 160 characters.
    """

    severity: str
    rule: str
    file: str
    line: int | None
    reason: str
    text: str = ""

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def record(self) -> dict[str, Any]:
        return {
            "severity": self.severity, "rule": self.rule, "file": self.file, "line": self.line,
            "reason": self.reason, "text": self.text,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The findings about a bundle, those to refuse first.

    Attributes:
        name: of the bundle's folder or archive.
        files: how many files were read.
        digest: identity of the bundle's content, see medseg.bundle.audit.trust.
        findings: sorted by severity, then file and line.
    """

    name: str
    files: int
    digest: str
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The worst severity: refuse, warn, or pass."""
        return next((level for level in (REFUSE, WARN) if self.count(level)), "pass")

    def record(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "bundle": self.name,
            "identity": f"{self.name}@{self.digest}",
            "verdict": self.verdict,
            "files": self.files,
            "counts": {level: self.count(level) for level in SEVERITIES},
            "findings": [finding.record() for finding in self.findings],
        }


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings without repetitions, the worst first, then by file and line."""
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda one: (SEVERITIES.index(one.severity), one.file, one.line or 0, one.rule),
        )
    )


def printable(text: object, most: int = _MOST_CHARACTERS) -> str:
    """Text of a stranger as one line that can't move a terminal's cursor."""
    line = " ".join(str(text).split())
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def line_of(lines: Sequence[str], number: int | None) -> str:
    """A line of a file, counted from 1, as a finding shows it."""
    return printable(lines[number - 1]) if number and 0 < number <= len(lines) else ""
