"""Methods: each is a name, a configuration laid over inference.yaml, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle.files import Bundle
from medseg.errors import BundleError, UsageError, did_you_mean

KINDS = ("rule", "unsupervised", "learned")


@dataclass(frozen=True)
class Method:
    """What a method's configuration declares (configs/methods/<name>.yaml, `declaration`).

    Attributes:
        name: of the file, without its ending.
        summary: one line.
        kind: rule (by hand), unsupervised (fits each image) or learned (has weights).
        dimensions: 2 or 3, of what it looks at.
        weights: the file that it is shipped with, which may be missing; None for one without weights.
        algorithm_family: of DICOM's CID 7162, such as artificial_intelligence; see medseg.io.dicom.seg.
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
    """What a method declares; that of inference.yaml without a name.

    Raises:
        UsageError: the bundle has no such method.
        BundleError: its declaration is missing or incomplete.
    """
    default = _yaml(bundle.config("inference.yaml")).get("method")
    name = name or default
    names = method_names(bundle)
    if name not in names:
        raise UsageError(
            f"a method that {bundle.task} has", got=str(name), advice=did_you_mean(str(name), names)
        )
    said = _yaml(bundle.config(f"methods/{name}.yaml")).get("declaration", {})
    _require_whole(said, f"configs/methods/{name}.yaml")
    weights = bundle.root / said["weights"] if said["weights"] else None
    return Method(
        name, said["summary"], said["kind"], said["dimensions"], weights, said["algorithm_family"],
        is_default=name == default,
    )  # fmt: skip


def _require_whole(said: Any, file: str) -> None:
    from medseg.io.dicom.seg import FAMILIES

    expected = ("summary", "kind", "dimensions", "weights", "algorithm_family")
    missing = [key for key in expected if not isinstance(said, dict) or key not in said]
    if missing:
        raise BundleError(
            f"a declaration of {', '.join(expected)}",
            got=f"none of {', '.join(missing)}",
            advice=f"Complete {file}.",
        )
    for key, known in (("kind", KINDS), ("algorithm_family", FAMILIES)):
        if said[key] not in known:
            raise BundleError(
                f"a declaration whose {key} is one of {', '.join(known)}",
                got=str(said[key]),
                advice=f"Correct {file}.",
            )


def inference_files(bundle: Bundle, method: str | None = None) -> list[str]:
    """The configuration files that segment: inference.yaml, and over it that of a method by name.

    Raises:
        UsageError: the bundle has no such method.
    """
    if method is None:
        return ["inference.yaml"]
    return ["inference.yaml", f"methods/{read_method(bundle, method).name}.yaml"]


def training_files(bundle: Bundle, method: str | None = None) -> list[str]:
    """The configuration files that train: train.yaml, and over it methods/<name>.train.yaml where it is.

    Raises:
        UsageError: the bundle has no such method, or it doesn't learn, or nothing says how to train it.
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
            got=f"{method}, which is of the kind {declared.kind}",
            advice=f"Train {trained}.",
        )
    return ["train.yaml"]


_TRAINING = ".train.yaml"


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        # By libyaml where PyYAML was built with it: a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, yaml.YAMLError) as error:
        got = f"{path.name} ({type(error).__name__})"
        raise BundleError("a configuration in YAML", got=got, advice="Restore the bundle.") from error
    return content
