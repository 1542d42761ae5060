"""Bundles: find one by its task, read its metadata, parse its configurations, load its weights."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.errors import BundleError, MedsegError, UsageError, WeightsError, did_you_mean

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

_PACKAGE = Path(__file__).parent
_MONAI_OPTIONS = (
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_type", "workflow_name", "properties_path",
)  # fmt: skip


# Where a workflow reads and writes and what it is called: not what it computes.
_NOT_PARAMETERS = {
    "_meta_", "imports", "initialize", "run", "finalize", "config_files", "bundle_root", "dataset_dir",
    "output_dir", "ckpt_dir", "cache_dir", "experiment", "run_name", "parent_run", "resume", "register",
}  # fmt: skip
_running: ContextVar[Mapping[str, Any] | None] = ContextVar("overrides of the running workflow", default=None)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and the content of its metadata.json."""

    root: Path
    metadata: dict[str, Any]

    @property
    def task(self) -> str:
        return self.root.name

    def config(self, name: str) -> Path:
        return self.root / "configs" / name


def shipped_root() -> Path:
    """The folder of the shipped bundles: inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / "bundles"
    return inside if inside.is_dir() else _PACKAGE.parent / "bundles"


def tasks() -> list[str]:
    """The tasks that have a bundle."""
    return sorted(path.parent.parent.name for path in shipped_root().glob("*/configs/metadata.json"))


def find(task: str) -> Path:
    """The folder of a task's bundle.

    The working directory comes first (the bundle itself, then bundles/<task>), so that a copy that
    somebody edits is the one that runs; then the shipped one.

    Raises:
        UsageError: no bundle for this task.
    """
    here = Path.cwd()
    for root in (here, here / "bundles" / task, shipped_root() / task):
        if root.name == task and (root / "configs" / "metadata.json").is_file():
            return root
    raise UsageError("a task that has a bundle", came=task, do=did_you_mean(task, tasks()))


def open_bundle(task: str) -> Bundle:
    """Open the bundle of a task, or the one in a folder when `task` is a path to it.

    Raises:
        UsageError: no such bundle.
        BundleError: its metadata can't be read.
    """
    root = Path(task) if (Path(task) / "configs" / "metadata.json").is_file() else find(task)
    file = root / "configs" / "metadata.json"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError("a readable metadata.json", came=f"{error}", do="Restore the bundle.") from error
    return Bundle(root.resolve(), metadata)


def parse(bundle: Bundle, *files: str, overrides: Mapping[str, Any] | None = None) -> ConfigParser:
    """Parse configuration files of a bundle, with values put in the place of existing keys.

    Args:
        bundle: an opened bundle.
        files: names in its configs folder; a later one overrides an earlier one.
        overrides: key (nested by "::", as MONAI writes it) to value.

    Raises:
        UsageError: an override whose key the configuration does not have.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(bundle.config(name)) for name in files])
    parser.read_meta(str(bundle.config("metadata.json")))
    for key, value in {"bundle_root": str(bundle.root), **(overrides or {})}.items():
        check_key(parser, key)
        parser[key] = value
    return parser


def inference_files(bundle: Bundle, method: str | None = None) -> list[str]:
    """The configuration files that segment: inference.yaml, and over it that of another method.

    Raises:
        UsageError: the bundle has no such method.
    """
    if method is None:
        return ["inference.yaml"]
    methods = sorted(file.stem for file in bundle.config("methods").glob("*.yaml"))
    if method not in methods:
        raise UsageError(
            f"a method that {bundle.task} has",
            came=method,
            do=did_you_mean(method, methods) if methods else "Leave out --method: it has one method alone.",
        )
    return ["inference.yaml", f"methods/{method}.yaml"]


def check_key(parser: ConfigParser, key: str) -> None:
    """Refuse a key that the configuration does not have: MONAI would add it and go on.

    Raises:
        UsageError: with the nearest keys that exist.
    """
    parts = key.replace("#", "::").split("::")
    known: Any = parser.config
    for part in parts:
        names = [str(index) for index in range(len(known))] if isinstance(known, list) else known
        if not isinstance(known, (dict, list)) or part not in names:
            choices = [str(name) for name in names] if isinstance(known, (dict, list)) else []
            raise UsageError(
                "a key that the bundle's configuration has", came=key, do=did_you_mean(part, choices)
            )
        known = known[int(part)] if isinstance(known, list) else known[part]


def run_workflow(bundle: Bundle, *files: str, overrides: Mapping[str, Any]) -> None:
    """Run configuration files as `python -m monai.bundle run` does, after a check of the overrides.

    Raises:
        UsageError: see check_key.
        MedsegError: whatever the bundle's own steps raise.
    """
    from monai.bundle import ConfigWorkflow

    parse(bundle, *files, overrides=overrides)
    token = _running.set(overrides)
    with typed_errors(), ExitStack() as stack:
        stack.callback(_running.reset, token)
        workflow = ConfigWorkflow(
            config_file=[str(bundle.config(name)) for name in files],
            workflow_type="infer" if "inference.yaml" in files else "train",
            **{"bundle_root": str(bundle.root), **overrides},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()


def check_arguments(bundle_root: str | Path, files: Sequence[str]) -> None:
    """Refuse misspelt options of `python -m monai.bundle run`, which MONAI would add and ignore.

    A bundle calls it from its `initialize`; under another program it does nothing. It ends that
    program rather than raise, because MONAI would bury the message under its own.

    Raises:
        SystemExit: an option that is neither a key of the configuration nor one of MONAI's own.
    """
    parser = parse(open_bundle(str(bundle_root)), *files)
    for key in _monai_overrides():
        try:
            check_key(parser, key)
        except UsageError as error:
            raise SystemExit(f"medseg: {error}") from error


class Configuration(dict[str, str]):
    """Flattened parameters; `changed` has those that differ from the bundle's own configuration."""

    changed: Mapping[str, str]


def configuration(bundle_root: str | Path, files: Sequence[str]) -> Configuration:
    """What the running workflow computes with, flattened: names joined by dots, values as text.

    Overrides are those of `run_workflow`, else those on the command line of `python -m monai.bundle run`.
    Expressions and references stay as they are written. Paths and names of runs are left out.
    """
    bundle, overrides = open_bundle(str(bundle_root)), _running.get()
    found = Configuration(
        _parameters(parse(bundle, *files, overrides=_monai_overrides() if overrides is None else overrides))
    )
    own = _parameters(parse(bundle, *files))
    found.changed = {name: value for name, value in found.items() if own.get(name) != value}
    return found


def _parameters(parser: ConfigParser) -> dict[str, str]:
    content: Any = parser.config
    return dict(_flat({key: value for key, value in content.items() if key not in _NOT_PARAMETERS}))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    nested = isinstance(value, list) and any(isinstance(entry, (dict, list)) for entry in value)
    if isinstance(value, dict) or nested:
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(entry, f"{name}.{key}".removeprefix("."))
    else:
        yield name, str(value)


def _monai_overrides() -> dict[str, Any]:
    """Key to value of the command line, when this is `python -m monai.bundle run`, read as MONAI does."""
    if not sys.argv[0].endswith("__main__.py") or sys.argv[1:2] != ["run"]:
        return {}
    from fire.parser import DefaultParseValue

    overrides = {}
    for argument, following in zip(sys.argv[2:], [*sys.argv[3:], "--"], strict=False):
        if argument.startswith("--"):
            key, equals, value = argument[2:].partition("=")
            text = value if equals else "True" if following.startswith("--") else following
            overrides[key] = DefaultParseValue(text)
    return {key: value for key, value in overrides.items() if key not in _MONAI_OPTIONS}


def load_ensemble(network: torch.nn.Module, folder: str | Path) -> torch.nn.Module:
    """The mean of the networks that a cross-validation trained (fold_*/models/model.pt in its folder).

    Raises:
        WeightsError: there are none, or one doesn't fit; see load_weights.
    """
    from medseg.networks import Ensemble

    files = fold_weights(folder)
    return Ensemble([load_weights(copy.deepcopy(network), file) for file in files]).eval()


def fold_weights(folder: str | Path) -> list[Path]:
    """The files of the weights that a cross-validation left in its folder.

    Raises:
        WeightsError: there are none.
    """
    files = sorted(Path(folder).glob("fold_*/models/model.pt"))
    if not files:
        raise WeightsError(
            "the output_dir of a cross-validation, with fold_*/models/model.pt",
            came=str(folder),
            do="Run `medseg train TASK --folds 5 --output_dir DIR` first.",
        )
    return files


@contextmanager
def typed_errors() -> Iterator[None]:
    """Let a MedsegError out of the RuntimeErrors that MONAI wraps around it."""
    try:
        yield
    except MedsegError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MedsegError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_monai_without(*names: str) -> None:
    """Import MONAI as if these libraries, which it takes where they are installed, were not."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        import monai  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def load_weights(
    network: torch.nn.Module, path: str | Path, pinned_sha256: str | None = None
) -> torch.nn.Module:
    """Load a state dictionary, tensors only, into a network and set it to evaluation.

    Args:
        network: built as at training time.
        path: written by torch.save; a checkpoint with a "model" entry is fine too.
        pinned_sha256: what the file must hash to; None for weights of one's own.

    Raises:
        WeightsError: the file is missing, hashes otherwise, holds more than tensors or does not fit.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise WeightsError("the bundle's weights", came=f"no file {path}", do="Restore or train them.")
    if pinned_sha256 is not None and sha256(path) != pinned_sha256:
        raise WeightsError(
            f"weights with the SHA-256 {pinned_sha256}",
            came=f"{path.name} with {sha256(path)}",
            do="Restore the file; for weights of your own, set weights_sha256 to null.",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model", state))
    except Exception as error:  # torch raises a dozen kinds, pickle's and zip's among them
        raise WeightsError(
            "weights that fit the network",
            came=f"{path.name} ({type(error).__name__}: {str(error)[:300]})",
            do="Use weights that were trained with this bundle's network_def.",
        ) from error
    return network.eval()
