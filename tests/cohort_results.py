"""Ledgers of cohorts whose results lie in a folder, without segmenting."""

from contextlib import closing

from medseg.cohort.ledger import NAME, CaseRow, Ledger

SETTINGS = {
    **{"task": "organ", "bundle_version": "0.3", "method": "unet", "weights_sha256": ["f" * 64]},
    **{"mode": "semantic", "set": {}, "part": None, "versions": {"medseg": "0.1"}},
}


def done(case, *, seconds=2.0, verdict="pass", **more):
    return CaseRow(
        case, (f"/images/{case}.png",), state="done", attempts=1, seconds=seconds, verdict=verdict, **more
    )


def ledger_of(folder, rows=None, **settings):
    """The ledger of a folder, which is closed at the end of a `with`; with rows a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / NAME)
    if rows is not None:
        ledger.start({**SETTINGS, **settings}, rows)
    return closing(ledger)
