"""Parse a bundle's configurations, with overrides of existing keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.bundle.audit.trust import require_trusted
from medseg.bundle.files import Bundle, open_bundle
from medseg.errors import BundleError, UsageError, did_you_mean

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

_MONAI_OPTIONS = (
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_type", "workflow_name", "properties_path",
)  # fmt: skip

# Paths and names of a workflow, which do not change what it computes.
_NOT_PARAMETERS = {
    "_meta_", "imports", "initialize", "run", "finalize", "config_files", "bundle_root", "dataset_dir",
    "output_dir", "ckpt_dir", "cache_dir", "experiment", "run_name", "parent_run", "resume", "register",
}  # fmt: skip
# Keys that training and inference both have, with values of their own.
_NOT_SHARED = _NOT_PARAMETERS | {
    "method", "declaration", "weights", "weights_sha256", "weights_fold", "input", "device",
}  # fmt: skip
_BUILT = {
    "network", "dataset", "dataloader", "preprocessing", "inferer", "postprocessing", "handlers", "evaluator",
}  # fmt: skip
running: ContextVar[Mapping[str, Any] | None] = ContextVar("overrides of the running workflow", default=None)


def parse(bundle: Bundle, *files: str, overrides: Mapping[str, Any] | None = None) -> ConfigParser:
    """Parse configuration files of a bundle and override existing keys.

    Args:
        bundle: an opened bundle.
        files: names in its configs folder; a later file overrides an earlier one.
        overrides: key (nested by "::", as in MONAI) to value.

    Raises:
        UsageError: the configuration does not have the key of an override, or has numbers or a switch where
            the override is plain text.
        BundleError: a file is missing or is not YAML; or the bundle may not run, see
            medseg.bundle.audit.trust.
    """
    require_trusted(bundle.root)
    for name in files:
        if not Path(os.path.normpath(bundle.config(name))).is_relative_to(bundle.config("")):
            raise BundleError(
                "configuration files inside the bundle", got=name, advice="Copy it into the bundle's configs."
            )
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    paths = [str(bundle.config(name)) for name in files]
    try:
        parser.read_config(paths)
        parser.read_meta(str(bundle.config("metadata.json")))
    except Exception as error:  # the file system's, YAML's and MONAI's
        reason = " ".join(str(error).split())[:300]
        raise BundleError(
            f"a configuration that can be read: {', '.join(paths)}",
            got=f"{type(error).__name__}: {reason}",
            advice="Correct the configuration.",
        ) from error
    for key, value in {"bundle_root": str(bundle.root), **(overrides or {})}.items():
        check_key(parser, key)
        _check_type(key, parser.get(key), value)
        parser[key] = value
    return parser


def require_data(name: str, value: Any) -> None:
    """Refuse text that would be evaluated, in what a configuration has computed to override another one.

    It has been evaluated already: what still reads as an expression was put together to be evaluated unseen
    by an audit.

    Raises:
        BundleError: it holds a text that begins with `$` or `%`, or a `_target_`.
    """
    if isinstance(value, Mapping):
        parts = [*value, *value.values()]
    else:
        parts = list(value) if isinstance(value, (list, tuple)) else [value]
    for part in parts:
        if isinstance(part, (Mapping, list, tuple)):
            require_data(name, part)
        elif isinstance(part, str) and (part.startswith(("$", "%")) or "_target_" in part):
            raise BundleError(
                f"plain values for {name}",
                got=f"{part[:80]!r}, which would be evaluated",
                advice="Write it into the bundle's configuration, where `medseg audit` reads it.",
            )


def _check_type(key: str, own: Any, value: Any) -> None:
    """Refuse plain text in the place of numbers or a switch: what fails on it later names no key."""
    if not isinstance(value, str) or value.startswith(("$", "@", "%")):
        return
    if isinstance(own, bool):
        expected = "true or false for"
    elif isinstance(own, (int, float)):
        expected = "a number for"
    elif isinstance(own, list) and own and all(isinstance(entry, (int, float)) for entry in own):
        expected = "a list of numbers for"
    else:
        return
    raise UsageError(f"{expected} {key}", got=value, advice=f"The bundle's own value is {own}.")


def check_key(parser: ConfigParser, key: str) -> None:
    """Check that the configuration has a key; MONAI would silently add an unknown one.

    MONAI's `_disabled_` is allowed on any step.

    Raises:
        UsageError: the key is unknown; the message suggests the nearest known keys.
    """
    parts = key.replace("#", "::").split("::")
    known: Any = parser.config
    for part in parts:
        if part == "_disabled_" and isinstance(known, dict) and "_target_" in known:
            return
        names = [str(index) for index in range(len(known))] if isinstance(known, list) else known
        if not isinstance(known, (dict, list)) or part not in names:
            choices = [str(name) for name in names] if isinstance(known, (dict, list)) else []
            raise UsageError(
                "a key that the bundle's configuration has", got=key, advice=did_you_mean(part, choices)
            )
        known = known[int(part)] if isinstance(known, list) else known[part]


def configuration(bundle_root: str | Path, files: Sequence[str]) -> dict[str, str]:
    """The parameters of the running workflow, flattened: names joined by dots, values as text.

    The overrides are those of `run_workflow`, else those on the command line of `python -m monai.bundle run`.
    Expressions and references are not evaluated. Paths and names of runs are left out.
    """
    return _flattened(parse(open_bundle(str(bundle_root)), *files, overrides=_active_overrides()))


def changed_configuration(bundle_root: str | Path, files: Sequence[str]) -> dict[str, str]:
    """The entries of `configuration` that the user overrode for this run."""
    own = _flattened(parse(open_bundle(str(bundle_root)), *files))
    found = configuration(bundle_root, files)
    return {name: value for name, value in found.items() if own.get(name) != value}


def _flattened(parser: ConfigParser) -> dict[str, str]:
    content: Any = parser.config
    return dict(_flat({key: value for key, value in content.items() if key not in _NOT_PARAMETERS}))


def inference_overrides(
    bundle_root: str | Path, files: Sequence[str], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The overrides of the running workflow that apply to inference too, such as `threshold`.

    Args:
        bundle_root: the bundle's folder.
        files: the configuration files of the inference.
        given: further overrides of these files, which are added.
    """
    parser = parse(open_bundle(str(bundle_root)), *files)
    active = _active_overrides()
    shared = {key: value for key, value in active.items() if _is_parameter(key) and has_key(parser, key)}
    return {**shared, **(given or {})}


def inference_keys(
    bundle: Bundle, files: Sequence[str], inference_files: Sequence[str], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """The overrides of an evaluation; keys that only its inference files have are moved under `inference`."""
    evaluated, used = parse(bundle, *files), parse(bundle, *inference_files)
    moved = [key for key in overrides if not has_key(evaluated, key) and has_key(used, key)]
    kept = {key: value for key, value in overrides.items() if key not in moved}
    return kept | ({"inference": {key: overrides[key] for key in moved}} if moved else {})


def trained_values(
    bundle_root: str | Path, training_files: Sequence[str], inference_files: Sequence[str]
) -> dict[str, Any]:
    """The values of a training that differ from those of the same keys in the inference files.

    With them, inference uses a network as it was trained even if train.yaml was changed, such as network_def.
    """
    bundle = open_bundle(str(bundle_root))
    trained: Any = parse(bundle, *training_files, overrides=_active_overrides()).config
    used: Any = parse(bundle, *inference_files).config
    names = [name for name in trained if name in used and _is_parameter(name) and name not in _BUILT]
    return {name: trained[name] for name in names if trained[name] != used[name]}


def has_key(parser: ConfigParser, key: str) -> bool:
    """Whether the configuration has a key; see check_key."""
    try:
        check_key(parser, key)
    except UsageError:
        return False
    return True


def _is_parameter(key: str) -> bool:
    return key.replace("#", "::").split("::")[0] not in _NOT_SHARED


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    nested = isinstance(value, list) and any(isinstance(entry, (dict, list)) for entry in value)
    if isinstance(value, dict) or nested:
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(entry, f"{name}.{key}".removeprefix("."))
    else:
        yield name, str(value)


def given_path(key: str, value: Any) -> str:
    """A path as the user typed it: `python -m monai.bundle run` turns `--input 123` into a number."""
    return value if isinstance(value, str) else _arguments().get(key, str(value))


def monai_overrides() -> dict[str, Any]:
    """The overrides on the command line of `python -m monai.bundle run`, parsed as MONAI parses them."""
    if not is_monai_command():
        return {}
    from fire.parser import DefaultParseValue

    return {key: DefaultParseValue(text) for key, text in _arguments().items()}


def is_monai_command() -> bool:
    """Whether this process is `python -m monai.bundle run`."""
    return sys.argv[0].endswith("__main__.py") and sys.argv[1:2] == ["run"]


def _active_overrides() -> Mapping[str, Any]:
    """The overrides of the running workflow."""
    overrides = running.get()
    return monai_overrides() if overrides is None else overrides


def _arguments() -> dict[str, str]:
    """The options on MONAI's command line with their texts, without MONAI's own options."""
    if not is_monai_command():
        return {}
    found = {}
    for argument, following in zip(sys.argv[2:], [*sys.argv[3:], "--"], strict=False):
        if argument.startswith("--"):
            key, equals, value = argument[2:].partition("=")
            found[key] = value if equals else "True" if following.startswith("--") else following
    return {key: text for key, text in found.items() if key not in _MONAI_OPTIONS}
