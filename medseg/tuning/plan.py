"""What a search does, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle import Bundle, Method, inference_files, open_bundle, parse, read_method, training_files
from medseg.bundle.workflow import typed_errors
from medseg.data.manifests import load_items
from medseg.errors import DataError, UsageError
from medseg.evaluation.split import items_digest
from medseg.tuning.search_space import SearchSpace, check_search_space, read_search_space
from medseg.tuning.store import storage_url

SCORE = "dice"  # the mean over the validation split is searched for
EVALUATION = ("train.yaml", "evaluate.yaml")
# What machines that share a study may differ in.
_OF_A_MACHINE = {"cache_dir", "dataset_dir", "device", "num_workers"}
_PER_SEARCH = 4  # validations of a training, so that it can be pruned early


@dataclass(frozen=True)
class Plan:
    """A search for the parameters of one method.

    Attributes:
        root: the folder of the bundle.
        method: whose parameters are searched for.
        files: the configuration files that a trial changes: of the training, or of the inference of a method
            that is not trained.
        given: overrides that all trials have.
        space: the search space.
        study: the name of the study in its store.
        url: the address of the store.
        trials: how many trials the study gets, of all processes together.
        output_dir: the folder of the trials and of the results.
        items: the validation items.
        about: what must be the same for all processes that share the study: name to text.
    """

    root: Path
    method: Method
    files: tuple[str, ...]
    given: Mapping[str, Any]
    space: SearchSpace
    study: str
    url: str
    trials: int
    output_dir: Path
    items: tuple[Mapping[str, Any], ...]
    about: Mapping[str, str]

    @property
    def bundle(self) -> Bundle:
        return open_bundle(str(self.root))

    @property
    def is_trained(self) -> bool:
        return self.method.kind == "learned"

    def folder(self, number: int) -> Path:
        """The folder of a trial."""
        return self.output_dir / f"trial_{number:03}"


def make_plan(
    task: str,
    trials: int,
    *,
    method: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    output_dir: str | None = None,
    given: Mapping[str, Any],
) -> Plan:
    """A plan, checked before anything runs.

    Args:
        task: the name of a task, or the path of a bundle.
        trials: see Plan.
        method: None for the method that the bundle's train.yaml trains.
        storage: see medseg.tuning.store.storage_url.
        study: None for <task>/<method>.
        output_dir: None for out/tuning/<task>/<method>, and the study's name behind it if one is given.
        given: overrides of the training, or of the evaluation of a method that is not trained.

    Raises:
        UsageError: the method is unknown or has no search space, an override is misspelt or set by the
            search, or the store's address is none.
        DataError: there are no validation cases, or there is one subject alone.
        BundleError: the search space is faulty.
    """
    bundle = open_bundle(task)
    declared = read_method(bundle, method or str(parse(bundle, "train.yaml")["method"]))
    learns = declared.kind == "learned"
    space = read_search_space(bundle, declared.name)
    files = training_files(bundle, declared.name) if learns else inference_files(bundle, declared.name)
    settings, own = _divided(bundle, files, given, learns)
    check_search_space(space, bundle, files, settings if learns else own)
    items = _validation_items(bundle, files if learns else EVALUATION, settings, learns)
    folder = Path(output_dir) if output_dir else Path("out/tuning", bundle.task, declared.name, study or "")
    about = {
        "task": bundle.task,
        "method": declared.name,
        "search space": space.digest(),
        "settings": json.dumps({**settings, **own}, sort_keys=True, default=str),
        "validation data": items_digest(items),
        "score": SCORE,
    }
    return Plan(
        root=bundle.root,
        method=declared,
        files=tuple(files),
        given={**settings, **own},
        space=space,
        study=study or f"{bundle.task}/{declared.name}",
        url=storage_url(storage, folder / "study.db"),
        trials=trials,
        output_dir=folder.absolute(),
        items=tuple(items),
        about=about,
    )


def differences(about: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of what differs between two searches, besides what is of a machine."""
    return [name for name, text in about.items() if _shared(name, text) != _shared(name, other.get(name))]


def _shared(name: str, text: str | None) -> Any:
    if name != "settings" or text is None:
        return text
    return {key: value for key, value in json.loads(text).items() if key not in _OF_A_MACHINE}


def _divided(
    bundle: Bundle, files: Sequence[str], given: Mapping[str, Any], learns: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The overrides of a training or an evaluation, and those of the inference of an untrained method."""
    from medseg.bundle.config import has_key

    if learns:
        return _with_validations(bundle, files, given), {}
    if "epochs" in given:
        raise UsageError(
            "--epochs for a method that is trained",
            got="a method that is not",
            advice="Leave it out.",
        )
    own_config = parse(bundle, *files)
    own = {key: value for key, value in given.items() if has_key(own_config, key)}
    settings = {key: value for key, value in given.items() if key not in own}
    parse(bundle, *EVALUATION, overrides=settings)
    return settings, own


def _with_validations(bundle: Bundle, files: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides, with several validations where the user does not say how many."""
    config = parse(bundle, *files, overrides=given)
    with typed_errors():
        epochs, own_interval = (config.get_parsed_content(key) for key in ("epochs", "val_interval"))
    if not isinstance(epochs, int) or epochs < 1:
        raise UsageError("--epochs of 1 or more", got=str(epochs), advice="Choose a whole number.")
    interval = max(1, epochs // _PER_SEARCH)
    if "val_interval" in given or own_interval <= interval:
        return dict(given)
    return {**given, "val_interval": interval}


def _validation_items(
    bundle: Bundle, files: Sequence[str], settings: Mapping[str, Any], learns: bool
) -> list[dict[str, Any]]:
    config = parse(bundle, *files, overrides=settings)
    with typed_errors():
        manifests = config.get_parsed_content("manifests")
    subjects = set()
    for split in ("training", "validation"):
        try:
            subjects |= {str(item.get("subject")) for item in load_items(manifests, split)}
        except DataError:  # an empty split
            continue
    if len(subjects) < 2:
        raise DataError(
            "training and validation cases of two subjects or more",
            got=f"{len(subjects)}",
            advice="Choose another --manifest.",
        )
    if not learns:
        return load_items(manifests, "validation")
    with typed_errors():
        config.get_parsed_content("train::datalist")
        return list(config.get_parsed_content("validate::datalist"))
