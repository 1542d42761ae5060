"""Methods: each has a name, a configuration laid over inference.yaml, and a declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle.files import Bundle
from medseg.errors import BundleError, UsageError, WeightsError, did_you_mean

KINDS = ("rule", "unsupervised", "learned")


@dataclass(frozen=True)
class Method:
    """The declaration of a method (`declaration` in configs/methods/<name>.yaml).

    Attributes:
        name: the file's name without its extension.
        summary: one line.
        kind: rule (hand-written), unsupervised (fitted to each image) or learned (has weights).
        dimensions: 2 or 3, the number of spatial axes that it works on.
        weights: the file of weights, which may be missing; None for a method without weights.
        algorithm_family: a term of DICOM's CID 7162, such as artificial_intelligence; see
            medseg.io.dicom.seg.
        is_default: whether inference.yaml alone is this method.
    """

    name: str
    summary: str
    kind: str
    dimensions: int
    weights: Path | None
    algorithm_family: str
    is_default: bool

    @property
    def is_trained(self) -> bool:
        return self.weights is not None and self.weights.is_file()


def method_names(bundle: Bundle) -> list[str]:
    """The methods of a bundle, in alphabetical order."""
    files = bundle.config("methods").glob("*.yaml")
    return sorted(file.stem for file in files if not file.name.endswith(_TRAINING))


def read_method(bundle: Bundle, name: str | None = None) -> Method:
    """Read a method's declaration; without a name, that of the default method of inference.yaml.

    Raises:
        UsageError: the bundle has no such method.
        BundleError: its declaration is missing, incomplete or has an unknown value.
    """
    default = _yaml(bundle.config("inference.yaml")).get("method")
    name = name or default
    names = method_names(bundle)
    if name not in names:
        raise UsageError(
            f"a method that {bundle.task} has", got=str(name), advice=did_you_mean(str(name), names)
        )
    found = _yaml(bundle.config(f"methods/{name}.yaml")).get("declaration", {})
    _require_complete(found, f"configs/methods/{name}.yaml")
    weights = bundle.root / found["weights"] if found["weights"] else None
    return Method(
        name, found["summary"], found["kind"], found["dimensions"], weights, found["algorithm_family"],
        is_default=name == default,
    )  # fmt: skip


def _require_complete(declaration: Any, file: str) -> None:
    from medseg.io.dicom.seg import FAMILIES

    expected = ("summary", "kind", "dimensions", "weights", "algorithm_family")
    missing = [key for key in expected if not isinstance(declaration, dict) or key not in declaration]
    if missing:
        raise BundleError(
            f"a declaration with {', '.join(expected)}",
            got=f"one without {', '.join(missing)}",
            advice=f"Complete {file}.",
        )
    for key, known in (("kind", KINDS), ("algorithm_family", FAMILIES)):
        if declaration[key] not in known:
            raise BundleError(
                f"a declaration whose {key} is one of {', '.join(known)}",
                got=str(declaration[key]),
                advice=f"Correct {file}.",
            )


def inference_files(bundle: Bundle, method: str | None = None) -> list[str]:
    """The configuration files of the inference: inference.yaml, and the overlay of a named method.

    Raises:
        UsageError: the bundle has no such method.
    """
    if method is None:
        return ["inference.yaml"]
    return ["inference.yaml", f"methods/{read_method(bundle, method).name}.yaml"]


def training_files(bundle: Bundle, method: str | None = None) -> list[str]:
    """The configuration files of the training: train.yaml, and methods/<name>.train.yaml if it exists.

    Raises:
        UsageError: the bundle has no such method, or the method can't be trained.
    """
    if method is None:
        return ["train.yaml"]
    declared = read_method(bundle, method)
    overlay = f"methods/{method}{_TRAINING}"
    if bundle.config(overlay).is_file():
        return ["train.yaml", overlay]
    trained = str(_yaml(bundle.config("train.yaml")).get("method"))
    if declared.kind != "learned" or method != trained:
        raise UsageError(
            "a method that learns from a data set",
            got=f"{method}, whose kind is {declared.kind}",
            advice=f"Train {trained} instead.",
        )
    return ["train.yaml"]


def require_trained(method: Method, task: str) -> None:
    """Check that the weights of a method are there, if it has any.

    Raises:
        WeightsError: they are missing.
    """
    if method.weights is not None and not method.is_trained:
        raise WeightsError(
            f"the trained weights of {method.name}",
            got=f"no file {method.weights}",
            advice=f"Run `medseg train {task} --method {method.name}`, and give its model.pt by --weights.",
        )


def weights_overrides(method: Method, weights: str | Path | None, fold: int | None) -> dict[str, Any]:
    """The overrides that replace a method's own weights; none for None.

    Raises:
        UsageError: the method uses no weights.
    """
    if weights is None and fold is None:
        return {}
    if method.weights is None:
        raise UsageError(
            "a method that uses weights",
            got=f"{method.name}, which uses none",
            advice="Choose another method, or leave the weights out.",
        )
    own = {} if weights is None else {"weights": str(weights), "weights_sha256": None}
    return {**own, "weights_fold": fold}


def changed_settings(overrides: Mapping[str, Any]) -> dict[str, str]:
    """What a user has changed that may change the mask, as text, in the order of the keys.

    Device and backend do not, and weights have a digest of their own.
    """
    return {key: str(overrides[key]) for key in sorted(overrides) if key not in _NO_SETTINGS}


_NO_SETTINGS = ("device", "backend", "weights", "weights_sha256", "weights_fold")
_TRAINING = ".train.yaml"


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        # libyaml, if PyYAML was built with it, takes a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, yaml.YAMLError) as error:
        got = f"{path} ({' '.join(str(error).split())[:300]})"
        raise BundleError("a configuration in YAML", got=got, advice="Correct that file.") from error
    return content
