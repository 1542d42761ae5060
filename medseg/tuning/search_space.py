"""The search space of a method: its parameters, and the keys of the configuration that they set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle import Bundle, check_key, method_names, parse, require_data
from medseg.errors import BundleError, UsageError, did_you_mean

_FOLDER = "search"
_NUMBER_FIELDS = {"default", "low", "high", "log", "step"}
_CHOICE_FIELDS = {"default", "choices"}
Value = Any  # a number, a text, or True or False


@dataclass(frozen=True)
class Parameter:
    """A parameter: its choices, or a range.

    Attributes:
        name: as in the file.
        default: its value in the bundle's own configuration.
        choices: the values, of which a trial takes one; empty for a range.
        low, high: the ends of a range, both included. The values are whole numbers if both ends are.
        log: whether the range is searched on a logarithmic scale.
        step: between neighbouring values of a range; None for 1 between whole numbers, and for none else.
    """

    name: str
    default: Value
    choices: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_numeric(self) -> bool:
        return not self.choices or all(isinstance(choice, (int, float)) for choice in self.choices)

    def draw(self, trial: Any) -> Value:
        """The value in an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            return trial.suggest_int(self.name, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def ends(self) -> tuple[Value, ...]:
        """The values to try the configuration with before the search: all choices, or both ends."""
        return self.choices or (self.low, self.high)


@dataclass(frozen=True)
class SearchSpace:
    """The parameters of a method and the keys that they set.

    Attributes:
        parameters: by name.
        assignments: key of the configuration (nested by "::") to a value, in which "@name" is a parameter
            and "$..." an expression, as in MONAI's configurations.
    """

    parameters: Mapping[str, Parameter]
    assignments: Mapping[str, Any]

    @property
    def default(self) -> dict[str, Value]:
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def draw(self, trial: Any) -> dict[str, Value]:
        """A value for each parameter, drawn by an Optuna trial."""
        return {name: parameter.draw(trial) for name, parameter in self.parameters.items()}

    def overrides(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The keys that values of the parameters set, for medseg.bundle.parse.

        Raises:
            BundleError: an expression names no parameter, or can't be computed.
        """
        from monai.bundle import ConfigParser

        # In a list, because MONAI would take the "::" in a key for a path.
        parser = ConfigParser({**values, "set": list(self.assignments.values())})
        try:
            found = parser.get_parsed_content("set", instantiate=False)
        except Exception as error:  # whatever an expression raises, and MONAI's own
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise BundleError(
                f"expressions of the parameters {', '.join(self.parameters)} under `set`",
                got=f"{type(error).__name__}: {reason}",
                advice="Correct the search space.",
            ) from error
        require_data("the keys under `set`", found)
        return dict(zip(self.assignments, found, strict=True))

    def digest(self) -> str:
        """All that the space says, as text."""
        parameters = {name: vars(parameter) for name, parameter in self.parameters.items()}
        return json.dumps({"parameters": parameters, "set": dict(self.assignments)}, default=list)


def read_search_space(bundle: Bundle, method: str) -> SearchSpace:
    """The search space of a method, configs/search/<method>.yaml.

    Raises:
        UsageError: the method has none.
        BundleError: it is no YAML, or an entry is unknown, missing or impossible.
    """
    import yaml

    file = bundle.config(f"{_FOLDER}/{method}.yaml")
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml") if path.stem in method_names(bundle))
        raise UsageError(
            f"a method of {bundle.task} with a search space in configs/{_FOLDER}",
            got=method,
            advice=f"Choose from {', '.join(known) or 'other tasks'}, or write {file.name} there.",
        )
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise _faulty(file, "a search space in YAML", " ".join(str(error).split())[:300]) from error
    if not isinstance(content, dict):
        raise _faulty(file, "`parameters` and `set`", type(content).__name__)
    _require_fields(file, content, {"parameters", "set"})
    for part in ("parameters", "set"):
        if not isinstance(content.get(part), dict) or not content[part]:
            raise _faulty(file, f"entries under `{part}`", str(content.get(part)))
    parameters = {name: _parameter(file, name, entry) for name, entry in content["parameters"].items()}
    return SearchSpace(parameters, content["set"])


def check_search_space(
    space: SearchSpace, bundle: Bundle, files: Sequence[str], given: Mapping[str, Any]
) -> None:
    """Check a space against the configuration that its trials change, so that no trial fails on it.

    Args:
        space: the search space.
        bundle: the bundle of the method.
        files: the configuration files of a trial.
        given: overrides of the whole search.

    Raises:
        UsageError: the configuration lacks a key, or a given key is set by the search too.
        BundleError: an expression can't be computed, or the defaults are not the configuration's own values.
    """
    config = parse(bundle, *files, overrides=given)
    twice = sorted(set(space.assignments) & set(given))
    if twice:
        raise UsageError(
            "keys that the search does not set itself",
            got=twice[0],
            advice=f"Leave it out, or take it out of configs/{_FOLDER}.",
        )
    for key in space.assignments:
        check_key(config, key)
    for parameter in space.parameters.values():
        for value in parameter.ends():
            space.overrides({**space.default, parameter.name: value})
    for key, value in space.overrides(space.default).items():
        own = config.get_parsed_content(key, instantiate=False)
        if own != value:
            raise BundleError(
                f"defaults that give the configuration's own values: {key} = {own}",
                got=str(value),
                advice=f"Correct the defaults in configs/{_FOLDER}, because the first trial is the default.",
            )


def _parameter(file: Path, name: str, entry: Any) -> Parameter:
    if not isinstance(entry, dict):
        raise _faulty(file, f"fields of the parameter {name}", str(entry))
    has_choices = "choices" in entry
    _require_fields(file, entry, _CHOICE_FIELDS if has_choices else _NUMBER_FIELDS, f"{name}::")
    missing = [
        field for field in ("default", *(() if has_choices else ("low", "high"))) if field not in entry
    ]
    if missing:
        raise _faulty(file, f"{name} with {missing[0]}", "none")
    if has_choices:
        choices = entry["choices"]
        if not isinstance(choices, list) or not choices:
            raise _faulty(file, f"a list of choices of {name}", str(choices))
        parameter = Parameter(name, entry["default"], tuple(choices))
        fits = parameter.default in choices
    else:
        parameter = _range(file, name, entry)
        fits = parameter.low <= parameter.default <= parameter.high
    if not fits:
        raise _faulty(file, f"a default of {name} that the search can reach", str(entry["default"]))
    return parameter


def _range(file: Path, name: str, entry: Mapping[str, Any]) -> Parameter:
    numbers = [entry[field] for field in ("default", "low", "high")]
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        raise _faulty(file, f"numbers as default, low and high of {name}", str(numbers))
    parameter = Parameter(name, **entry)
    if not parameter.low < parameter.high:
        raise _faulty(file, f"low below high of {name}", f"{parameter.low} and {parameter.high}")
    if parameter.step is not None and parameter.step < (1 if parameter.is_whole else 1e-12):
        raise _faulty(
            file, f"a step of {name} above 0, or of 1 or more of whole numbers", str(parameter.step)
        )
    if parameter.log and (parameter.step is not None or parameter.low <= 0):
        raise _faulty(file, f"a positive range without step of {name}, which is logarithmic", str(entry))
    return parameter


def _require_fields(file: Path, entry: Mapping[str, Any], known: set[str], prefix: str = "") -> None:
    for field in entry:
        if field not in known:
            raise BundleError(
                f"known fields in {file.name}",
                got=f"{prefix}{field}",
                advice=did_you_mean(str(field), known),
            )


def _faulty(file: Path, expected: str, got: str) -> BundleError:
    return BundleError(expected, got=got, advice=f"Correct {file}.")
