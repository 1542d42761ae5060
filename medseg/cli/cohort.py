"""medseg cohort"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED
from medseg.cli.options import (
    add_device,
    add_formats,
    add_method,
    add_mode,
    add_pixel_spacing,
    add_set,
    add_task,
    add_weights,
    overrides_of,
)
from medseg.errors import MedsegError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medseg.cohort.ledger import CaseRow, Ledger
    from medseg.cohort.plan import Plan
    from medseg.cohort.runner import Engine

HELP = "segment many images by workers that stay, with a ledger that survives a kill, a table and a page"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    command.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="data manifest, CSV file (columns path and perhaps case, subject, pixel_spacing_mm), or what "
        "`medseg segment` takes: files, folders, patterns",
    )
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the results")
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="how many cases at a time, each in a process that keeps the model (default: 1; with Ray as many "
        "as its cluster has processors)",
    )
    command.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where the workers run: on this machine (default), or on a Ray cluster that runs already",
    )
    command.add_argument(
        "--part",
        metavar="I/N",
        help="only every N-th case from the I-th, into a folder of its own, for job arrays; "
        "`medseg merge-cohorts` joins the parts",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on where a run into this folder was broken off"
    )
    command.add_argument(
        "--retry",
        action="store_true",
        help="with --resume: try again what was refused, failed or was set aside",
    )
    command.add_argument(
        "--timeout-s",
        type=float,
        metavar="S",
        help="set a case aside that takes longer (default: never)",
    )
    add_device(command)
    add_pixel_spacing(command)
    add_method(command)
    add_weights(command)
    add_mode(command)
    add_formats(command)
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from contextlib import closing, suppress

    from medseg.cohort.ledger import NAME, Ledger
    from medseg.cohort.plan import describe, open_ledger
    from medseg.cohort.runner import StoppedError, alone_in
    from medseg.cohort.sources import find_cases, part_of
    from medseg.io.atomic import require_folder

    plan = _plan_of(options)
    require_folder(plan.out)
    rows = find_cases(options.source)
    about = describe(plan, rows)
    with alone_in(plan.out), closing(Ledger(plan.out / NAME)) as ledger:
        open_ledger(ledger, about, part_of(rows, plan.part), options.resume, options.retry, _say)
        try:
            _run(ledger, plan, options)
        except StoppedError:
            ledger.discard_if_untouched()  # else the right settings would be refused for not being these
            raise
        except (MedsegError, OSError, KeyboardInterrupt):
            with suppress(MedsegError, OSError):  # of a full disk, say, which was told already
                _write_tables(ledger, plan)
            raise
        _write_tables(ledger, plan)
        counts = ledger.counts()
    print(summary(counts))
    print(plan.out / "cohort.html")
    return exit_code(counts)


def _plan_of(options: argparse.Namespace) -> Plan:
    from pathlib import Path

    from medseg.cohort.plan import Plan
    from medseg.workers import Settings

    if options.retry and not options.resume:
        raise UsageError("--resume with --retry", got="--retry alone", advice="Give both.")
    if options.workers is not None and options.workers < 1:
        raise UsageError("--workers of 1 or more", got=str(options.workers), advice="Leave it out for one.")
    if options.timeout_s is not None and not options.timeout_s > 0:
        raise UsageError("--timeout-s above 0", got=f"{options.timeout_s:g}", advice="Leave it out for none.")
    settings = Settings(
        options.task,
        options.method,
        options.device,
        options.mode,
        options.weights,
        options.fold,
        tuple(overrides_of(options.set).items()),
    )
    return Plan(
        Path(options.output),
        settings,
        tuple(options.formats),
        options.pixel_spacing_mm,
        options.even_rejected,
        _part(options.part),
    )


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = [int(number) if number.isdecimal() else 0 for number in text.split("/")]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise UsageError(
            "--part I/N, the I-th of N parts, I from 1 to N", got=text, advice="Write it as 2/10."
        )
    return numbers[0], numbers[1]


def _run(ledger: Ledger, plan: Plan, options: argparse.Namespace) -> None:
    from medseg.cohort.ledger import PENDING
    from medseg.cohort.runner import run_cohort
    from medseg.console import progress_bar
    from medseg.tracking.signals import terminable

    counts = ledger.counts()
    if not counts[PENDING]:
        return
    total = sum(counts.values())
    with terminable(), progress_bar("segmenting", "cases", total, total - counts[PENDING]) as advance:
        run_cohort(ledger, plan, _engine(options, counts[PENDING]), _tell, advance)


def _engine(options: argparse.Namespace, pending: int) -> Engine:
    if options.engine == "ray":
        from medseg.cohort.ray_engine import RayEngine

        return RayEngine(options.workers, options.timeout_s, device=options.device)
    from medseg.workers import Pool

    return Pool(min(options.workers or 1, pending), options.timeout_s)


def _tell(row: CaseRow, text: str) -> None:
    source = row.source[0] if len(row.source) == 1 else f"{len(row.source)} files of {row.case}"
    _say(f"{source}: {text}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _write_tables(ledger: Ledger, plan: Plan) -> None:
    from medseg.cohort.page import write_page
    from medseg.cohort.table import write_tables

    write_tables(plan.out, ledger)
    write_page(plan.out, ledger)


def summary(counts: Mapping[str, int]) -> str:
    """How many cases are in each state, as a sentence."""
    told = [f"{count} {state.replace('_', ' ')}" for state, count in counts.items() if count]
    return f"{sum(counts.values())} cases: {', '.join(told) or 'nothing to do'}"


def exit_code(counts: Mapping[str, int]) -> int:
    """See medseg.cli.exits: a case that is not done counts as rejected."""
    total = sum(counts.values())
    if counts["done"] == total:
        return EXIT_DONE
    return EXIT_SOME_REJECTED if counts["done"] else EXIT_ALL_REJECTED
