"""What MLflow's list of runs and its compare page show: name, note and the parameters of interest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# These do not change the result: they are not part of a run's name and may change before a resume.
FREE_TO_CHANGE = {"device", "num_workers"}
_NAME_LENGTH, _VALUE_LENGTH = 120, 40
_HEADLINE_SCORES = 4
# These come first in a name, because a list shows its beginning; nested parameters come last.
_FIRST = ("learning_rate", "fold", "seed", "epochs", "batch_size")
# The prefix of the data digests, which are always shown.
_DATA = "data."


def name_of(changed: Mapping[str, str]) -> str:
    """The name of a run: the parameters that differ from the bundle's, such as learning_rate=0.01, epochs=50.

    A run without changes is named "baseline" and the time, which distinguishes repeated runs. device and
    num_workers are not part of a name.
    """
    names = sorted((name for name in changed if name not in FREE_TO_CHANGE), key=_place)
    parts = [f"{name}={_brief(changed[name])}" for name in names]
    if not parts:
        return f"baseline {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    shown = parts[:1]
    for part in parts[1:]:
        if len(", ".join([*shown, part])) > _NAME_LENGTH:
            break
        shown.append(part)
    more = f" and {len(parts) - len(shown)} more" if len(parts) > len(shown) else ""
    return ", ".join(shown)[:_NAME_LENGTH] + more


def of_interest(parameters: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """The parameters to compare runs by, out of hundreds: changed ones and plain top-level values.

    Expressions, references and nested values are left out unless they were changed; parameters.json has them.
    """
    return {
        name: value
        for name, value in parameters.items()
        if name in changed or name.startswith(_DATA) or ("." not in name and not value.startswith(("$", "@")))
    }


def note_of(summary: Mapping[str, Any], figures: Mapping[str, float], changed: Mapping[str, str]) -> str:
    """A note with the main scores, their 95% intervals, the number of cases and the changed parameters.

    Args:
        summary: the content of scores.json.
        figures: further scores without an interval, such as the area under the ROC curve.
        changed: as for name_of.
    """
    known = {name: entry for name, entry in summary["scores"].items() if entry["mean"] is not None}
    scores = [_score(name, entry) for name, entry in list(known.items())[:_HEADLINE_SCORES]]
    scores += [f"{name} {value:.4f}" for name, value in list(figures.items())[:1]]
    cases = max((entry["cases"] for entry in summary["scores"].values()), default=0)
    settings = ", ".join(f"{name}={_brief(changed[name])}" for name in sorted(changed, key=_place))
    head = f"{', '.join(scores) or 'no score is defined'}; {summary.get('split', 'validation')}, {cases} case"
    return f"{head}{'s' * (cases != 1)}\n\nChanged: {settings or 'nothing'}"


def _score(name: str, entry: Mapping[str, Any]) -> str:
    interval = "" if entry["low"] is None else f" ({entry['low']:.4f} to {entry['high']:.4f})"
    return f"{name} {entry['mean']:.4f}{interval}"


def _place(name: str) -> tuple[int, bool]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), "." in name)


def _brief(value: str) -> str:
    """A value shortened to a few characters; a path becomes the file's name without .json."""
    text = re.sub(r"[^\s'\"\[\],]*/([^/\s'\"\[\],]*?)(?:\.json)?(?=$|['\"\],])", r"\1", value)
    text = re.sub(r"['\"]", "", text)
    return text if len(text) <= _VALUE_LENGTH else f"{text[: _VALUE_LENGTH - 1]}…"
