"""medseg audit"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_WARNED

if TYPE_CHECKING:
    from medseg.bundle.audit import Report

HELP = "read a bundle without running it, and tell what in it would run code, load pickles or reach out"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", help="a bundle's folder, a zip archive of one, or the name of a task")
    command.add_argument("--json", action="store_true", help="print JSON for programs")


def run(options: argparse.Namespace) -> int:
    from medseg.bundle.audit import audit_bundle
    from medseg.cli.terminal import strict_json

    report = audit_bundle(_path(options.bundle))
    print(strict_json(report.record()) if options.json else _text(report))
    return {"refuse": EXIT_ALL_REJECTED, "warn": EXIT_WARNED}.get(report.verdict, EXIT_DONE)


def _path(name: str) -> str:
    """A path as it is, and a task's name as the folder of its bundle."""
    from pathlib import Path

    from medseg.bundle import find, tasks

    return str(find(name)) if not Path(name).exists() and name in tasks() else name


def _text(report: Report) -> str:
    from medseg.bundle.audit.findings import SEVERITIES
    from medseg.console import table, terminal_width

    counts = ", ".join(f"{report.count(level)} {level}" for level in SEVERITIES)
    lines = [f"{report.name}: {report.files} files read, nothing executed; findings: {counts}"]
    rows = [(one.severity, one.rule, one.place, _told(one.reason, one.text)) for one in report.findings]
    if rows:
        lines.append(table(rows, ("", "rule", "where", "what"), width=terminal_width()))
    if report.verdict == "refuse":
        lines.append(
            "medseg does not run this bundle. After you have read every line above, and trust whoever"
        )
        lines.append(f"made it, name it: MEDSEG_TRUSTED_BUNDLES={report.name}@{report.digest}")
    return "\n".join(lines)


def _told(reason: str, text: str) -> str:
    return f"{reason}: {text}" if text else reason
