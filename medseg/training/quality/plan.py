"""What a predictor is fitted on: configs/quality/<method>.yaml of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

from medseg.bundle import Bundle, read_method
from medseg.data.foreign import LOOKS
from medseg.data.volume_changes import KINDS
from medseg.errors import BundleError, UnsuitableError


@dataclass(frozen=True)
class Plan:
    """What a predictor is fitted on.

    Attributes:
        manifests: the data sets.
        splits: of them that are used; with folds, training and validation together.
        folds: the number of networks of a cross-validation, each of which is used on what it did not learn
            from; 0 for weights that learnt from none of the splits, and for methods without weights.
        changes: a kind of image, one of KINDS.
        per_case: changed copies of each image.
        real: images of each data set and network at most, by even steps.
        most: of them that are changed, likewise.
        foreign: data sets of other kinds of images, and as what they are made to look: one of LOOKS.
        reference: the splits whose images are the reference for new ones: those that the weights learnt from.
        checked: `data set/split` of the images that the fit leaves out, on which it is checked; without any,
            the check is by groups that are left out in turn.
        labels: that a predictor is fitted for.
        without: subjects that are left out, such as those that weights which the networks began with learnt
            from.
    """

    manifests: Sequence[str]
    splits: Sequence[str]
    changes: str
    per_case: int
    labels: Sequence[str]
    folds: int = 0
    real: int = 1000
    most: int = 1000
    foreign: Sequence[Mapping[str, str]] = ()
    reference: Sequence[str] = ("training",)
    checked: Sequence[str] = ()
    without: Sequence[str] = ()


def read_plan(bundle: Bundle, method: str | None) -> Plan:
    """The plan of a method.

    Raises:
        UnsuitableError: the bundle has none for it.
        BundleError: keys are missing or unknown.
    """
    name = read_method(bundle, method).name
    path = bundle.config(f"quality/{name}.yaml")
    if not path.is_file():
        raise UnsuitableError(
            f"a file configs/quality/{name}.yaml, which says what a predictor is fitted on",
            got=f"none in the bundle {bundle.task}",
            advice="Write one like those of other methods, or name another method.",
        )
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {field.name for field in fields(Plan)}
    required = ("manifests", "splits", "changes", "per_case", "labels")
    odd = [key for key in content if key not in known] + [key for key in required if key not in content]
    if odd:
        raise BundleError(
            f"the keys {', '.join(sorted(known))}",
            got=f"{', '.join(odd)}, unknown or missing",
            advice=f"Mend {path.name}.",
        )
    plan = Plan(**content)
    looks = {entry["look"] for entry in plan.foreign}
    if plan.changes not in KINDS or looks - set(LOOKS):
        raise BundleError(
            f"changes of {', '.join(KINDS)}, and looks of {', '.join(LOOKS)}",
            got=f"{plan.changes} and {', '.join(sorted(looks)) or 'none'}",
            advice=f"Mend {path.name}.",
        )
    return plan
