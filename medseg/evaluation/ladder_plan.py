"""What a comparison of methods runs: methods, weights, cases. All of it is checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.bundle import (
    Bundle,
    Lineage,
    Method,
    check_key,
    inference_files,
    inference_keys,
    lineage_of,
    method_names,
    open_bundle,
    parse,
    read_method,
    weights_files,
)
from medseg.bundle.config import has_key
from medseg.data.manifests import data_root, load_items, require_sound
from medseg.errors import DataError, UsageError, WeightsError, did_you_mean

FILES = ("train.yaml", "evaluate.yaml")

# Keys of evaluate.yaml that each method has of its own here.
_OF_ONE_METHOD = ("method", "weights", "weights_sha256", "weights_fold")


@dataclass(frozen=True)
class Entry:
    """One method of a comparison.

    Attributes:
        method: its declaration.
        weights: a file, or the output_dir of a cross-validation, instead of the method's own; or None.
        files: what the method's network is loaded from; empty for a method without weights.
        changed: the keys that the user changed, as far as this method has them.
        overrides: all that is changed in train.yaml and evaluate.yaml for this method.
        lineage: the cases that the weights were trained on.
    """

    method: Method
    weights: str | None
    files: tuple[Path, ...]
    changed: Mapping[str, Any]
    overrides: Mapping[str, Any]
    lineage: Lineage = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """A comparison that can start.

    Attributes:
        bundle: the bundle of the task.
        entries: the methods, in the order in which they were named.
        items: the cases, as medseg.data.manifests.load_items gives them.
        data: the names of the data sets, joined by "+".
        split: its name: training, validation, test, or "fold 0 of 5".
        manifests: names or paths.
        experiment: that of the task's trainings in MLflow.
        folder: where everything is written.
        changed: keys that the user changed.
    """

    bundle: Bundle
    entries: tuple[Entry, ...]
    items: Sequence[Mapping[str, Any]]
    data: str
    split: str
    manifests: tuple[str, ...]
    experiment: str
    folder: Path
    changed: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.bundle.task} {self.data} {self.split}"

    @property
    def warnings(self) -> list[str]:
        """What is not known of the weights."""
        return [
            f"it is unknown which cases the weights of {entry.method.name} were trained on: "
            "there is no *.lineage.json beside them"
            for entry in self.entries
            if not entry.lineage.is_whole
        ]


def plan(
    task: str,
    names: Sequence[str],
    weights: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    output_dir: str | Path | None = None,
) -> Plan:
    """Check everything that a comparison of methods needs.

    Args:
        task: the name or path of a bundle.
        names: the methods.
        weights: method to a file, or to the output_dir of a cross-validation.
        overrides: keys of train.yaml, evaluate.yaml or the methods' inference files; a method that lacks one
            stays as it is. `manifests`, `split` and `fold` choose the cases; with a fold these are the
            subjects that it holds out.
        output_dir: None for out/compare/<task>/<data>_<split>.

    Raises:
        UsageError: a method, key, split or manifest is unknown, or a method that learns has no weights.
        WeightsError: weights are missing.
        DataError: the data are not sound, or weights were trained on cases that they would be scored on.
    """
    bundle, changed, given = open_bundle(task), dict(overrides or {}), dict(weights or {})
    methods = _methods(bundle, names, given)
    _require_no_key_of_one_method(changed)
    found = [_entry(bundle, method, given.get(method.name), changed) for method in methods]
    for key in changed:
        if not any(key in entry.changed for entry in found):
            check_key(parse(bundle, *FILES), key)  # raises
    config = parse(bundle, *FILES, overrides=found[0].overrides)
    listed = config["manifests"]
    manifests = (listed,) if isinstance(listed, str) else tuple(map(str, listed))
    data_root()
    require_sound(manifests)
    split, items = _items(config, manifests, changed)
    for entry in found:
        _require_unseen(entry, items)
    data = "+".join(Path(name).stem for name in manifests)
    default = Path("out/compare", bundle.task, f"{data}_{split.replace(' ', '_')}")
    return Plan(
        bundle=bundle,
        entries=tuple(found),
        items=items,
        data=data,
        split=split,
        manifests=manifests,
        experiment=str(config["experiment"]),
        folder=Path(output_dir) if output_dir else default,
        changed=changed,
    )


def _methods(bundle: Bundle, names: Sequence[str], weights: Mapping[str, str]) -> list[Method]:
    """The declarations of the methods, which exist, are named once, and have weights if they learn."""
    methods = [read_method(bundle, name) for name in names]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice or len(names) < 2:
        raise UsageError(
            "two or more methods, each once",
            got=f"{twice[0]} twice" if twice else ", ".join(names) or "none",
            advice=f"Choose from {', '.join(method_names(bundle))}.",
        )
    for name in weights:
        if name not in names:
            raise UsageError(
                "--weights for one of the compared methods", got=name, advice=did_you_mean(name, names)
            )
    for method in methods:
        if method.weights is None and method.name in weights:
            raise UsageError(
                "--weights for a method that uses weights",
                got=f"{method.name}, which uses none",
                advice="Leave them out.",
            )
        if method.weights is not None and not method.is_trained and method.name not in weights:
            raise UsageError(
                f"weights of {method.name}, which learns",
                got="none",
                advice=f"Run `medseg train {bundle.task} --method {method.name}`, "
                f"or give --weights {method.name}=FILE.",
            )
    return methods


def _require_no_key_of_one_method(changed: Mapping[str, Any]) -> None:
    for key in changed:
        if key in _OF_ONE_METHOD:
            raise UsageError(
                "keys that apply to every method",
                got=key,
                advice="Name methods with --methods, and weights with --weights NAME=FILE.",
            )


def _entry(bundle: Bundle, method: Method, weights: str | None, changed: Mapping[str, Any]) -> Entry:
    own_files = inference_files(bundle, method.name)
    parsers = parse(bundle, *FILES), parse(bundle, *own_files)
    own = {key: value for key, value in changed.items() if any(has_key(each, key) for each in parsers)}
    overrides = inference_keys(bundle, FILES, own_files, own) | {"method": method.name}
    files = tuple(weights_files(weights or method.weights))
    for file in files:
        if not file.is_file():
            raise WeightsError(
                f"the weights of {method.name}",
                got=f"no file {file}",
                advice=f"Give --weights {method.name}=FILE.",
            )
    return Entry(method, weights, files, own, overrides, lineage_of(files))


def _items(
    config: Any, manifests: Sequence[str], changed: Mapping[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    """The split's name and its items, or those of the subjects that a fold holds out."""
    fold = config.get("fold", None)
    if fold is None:
        split = str(config["split"])
        return split, load_items(manifests, split)
    if changed.get("split", "validation") != "validation":
        raise UsageError(
            "no split beside a fold, which holds out subjects of training and validation",
            got=str(changed["split"]),
            advice="Leave out the split or the fold.",
        )
    held_out = {str(item["image"]) for item in config.get_parsed_content("validate::datalist")}
    items = []
    for split in ("training", "validation"):
        try:
            items += load_items(manifests, split)
        except DataError:  # an empty split
            continue
    return f"fold {fold[0]} of {fold[1]}", [item for item in items if str(item["image"]) in held_out]


def _require_unseen(entry: Entry, items: Sequence[Mapping[str, Any]]) -> None:
    """Refuse weights that were trained on a case that they would be scored on."""
    seen = sum(entry.lineage.includes(item) for item in items) if entry.files else 0
    if seen:
        name = entry.method.name
        raise DataError(
            "weights that were not trained on the cases that they are scored on",
            got=f"{seen} of {len(items)} cases that trained {name}",
            advice=f"Train {name} without them and give --weights {name}=FILE, or choose other cases.",
        )
