"""The order of named steps, some of which an overlay adds between others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medseg.errors import UsageError, did_you_mean


def in_order(names: Iterable[str], after: Mapping[str, str]) -> list[str]:
    """Names of steps in the order in which they run.

    Args:
        names: in the order of the configuration; MONAI puts what an overlay adds at the end.
        after: of each step that stands elsewhere, the step that it follows. Of several that follow the same
            step, the last one comes first.

    Raises:
        UsageError: `after` names a step that there is not, or that is disabled, or it is no mapping.
    """
    if not isinstance(after, Mapping):
        raise UsageError(
            "`after` as a mapping of steps, such as {denoise: resize}",
            got=str(after),
            advice="Correct the configuration.",
        )
    known = list(names)
    order = [name for name in known if name not in after]
    for name, before in after.items():
        for step, choices in ((name, known), (before, order)):
            if step not in choices:
                raise UsageError(
                    "steps of the configuration, not disabled, in `after`",
                    got=step,
                    advice=did_you_mean(step, choices),
                )
        order.insert(order.index(before) + 1, name)
    return order
