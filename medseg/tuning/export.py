"""The best trial of a study as a method of the bundle, which every command takes by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.bundle import Bundle, inference_files, method_names, parse, trained_values, training_files
from medseg.bundle.config import has_key, running
from medseg.errors import UsageError
from medseg.io.atomic import atomic_path
from medseg.tuning.plan import Plan

# What a search shortens or directs; a method keeps the bundle's own.
_OF_THE_SEARCH = {
    "manifests",
    "epochs",
    "val_interval",
    "fold",
    "cache_dir",
    "num_workers",
    "device",
    "split",
}


def require_new_method(bundle: Bundle, name: str) -> None:
    """Check the name of a new method.

    Raises:
        UsageError: it is no name for a file, or the bundle has such a method.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            "a name of small letters, digits and _ for --export",
            got=name,
            advice="Choose another name.",
        )
    if name in method_names(bundle):
        raise UsageError(
            f"a name that no method of {bundle.task} has for --export",
            got=name,
            advice="Choose another name.",
        )


def export_method(plan: Plan, trial: Any, name: str) -> list[Path]:
    """Write configs/methods/<name>.yaml, and <name>.train.yaml of a method that is trained.

    They are the files of the plan's method with the keys that the trial set. Data, epochs and what else only
    directed the search stay as the bundle has them. A trained method gets no weights: train it first.

    Args:
        plan: the search.
        trial: a complete trial of Optuna.
        name: a new name; see require_new_method.

    Returns:
        The files.

    Raises:
        UsageError: see require_new_method.
        OSError: the bundle's folder can't be written.
    """
    bundle = plan.bundle
    require_new_method(bundle, name)
    found = plan.space.overrides(trial.params)
    settings = {key: value for key, value in plan.given.items() if key not in _OF_THE_SEARCH}
    changed = {**settings, **found}
    origin = f"study {plan.study}, trial {trial.number}"
    own = _yaml(bundle.config(f"methods/{plan.method.name}.yaml"))
    own["declaration"] = {**own["declaration"], "summary": f"{plan.method.summary} ({origin})"}
    own["method"] = name
    if not plan.is_trained:
        return [_write(bundle, f"{name}.yaml", {**own, **_plain(changed)}, origin)]
    weights = f"models/{name}/model.pt"
    own["declaration"]["weights"] = weights
    own |= {"weights": f"$str(Path(@bundle_root) / 'models' / '{name}' / 'model.pt')", "weights_sha256": None}
    own |= _for_inference(plan, changed)
    return [
        _write(bundle, f"{name}.yaml", own, origin),
        _write(bundle, f"{name}.train.yaml", _training(plan, name, changed), origin),
    ]


def _for_inference(plan: Plan, changed: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the training that inference needs, as a training hands them to it."""
    token = running.set(changed)
    try:
        return _plain(trained_values(plan.root, plan.files, inference_files(plan.bundle, plan.method.name)))
    finally:
        running.reset(token)


def _training(plan: Plan, name: str, changed: Mapping[str, Any]) -> dict[str, Any]:
    bundle = plan.bundle
    overlays = training_files(bundle, plan.method.name)[1:]
    content: dict[str, Any] = {}
    for overlay in overlays:
        content |= _yaml(bundle.config(overlay))
    config = parse(bundle, *plan.files)
    kept = {key: value for key, value in changed.items() if has_key(config, key)}
    about = {
        "method": name,
        "config_files": ["train.yaml", f"methods/{name}.train.yaml"],
        "output_dir": f"out/{bundle.task}_{name}_training",
    }
    return {**content, **about, **_plain(kept)}


def _write(bundle: Bundle, name: str, content: Mapping[str, Any], origin: str) -> Path:
    import yaml

    file = bundle.config(f"methods/{name}")
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)
    with atomic_path(file) as temporary:
        temporary.write_text(f"# From {origin}, by medseg tune.\n{text}", encoding="utf-8")
    return file


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _plain(values: Any) -> Any:
    """Values as YAML can write them."""
    if isinstance(values, Mapping):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(value) for value in values]
    return values.item() if hasattr(values, "item") else values
