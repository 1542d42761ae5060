"""Read a node.yaml, and refuse what is wrong in it with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medseg.errors import MedsegError, UsageError, did_you_mean
from medseg.formats import ARCHIVED, FORMATS, check_formats

if TYPE_CHECKING:
    from medseg.server.config import NodeConfig

_Place = tuple[str | int, ...]

# pydantic's errors whose words name types of Python.
_WANTED = {
    "path_type": "a path",
    "tuple_type": "a list",
    "too_short": "a list of at least 1 item",
    "model_type": "keys and values",
    "dict_type": "keys and values",
    "string_type": "a text",
    "invalid_key": "a text as key",
}


def read_config(path: str | Path) -> NodeConfig:
    """Read and check the configuration of a node.

    Args:
        path: of a YAML file.

    Raises:
        UsageError: the file can't be read, a key is misspelt or missing, a value is wrong, or a rule names a
            task, method, format or archive that doesn't exist.
    """
    path = Path(path)
    content, lines = _parsed(path)
    try:
        from pydantic import ValidationError

        from medseg.server.config import NodeConfig
    except ImportError as error:
        raise missing_extra() from error
    records = content.pop("archives", None) or {}
    try:
        config = NodeConfig.model_validate(content)
    except ValidationError as error:
        raise _usage_error(error.errors()[0], path.name, lines) from error
    archives = _archives(records, config.dicom.ae_title if config.dicom else None, path.parent)
    config = config.model_copy(update={"archives": archives})
    _check(config, path.name, lines)
    return _absolute(config, path.absolute().parent)


def check_secrets(config: NodeConfig) -> None:
    """Read the files of tokens that a node would need later.

    Raises:
        MedsegError: one can't be read, or holds something else.
    """
    from medseg.server.rest.tokens import Tokens

    for archive in config.archives.values():
        archive.secret()
    if config.rest is not None:
        Tokens(config.rest.tokens_file)


def missing_extra() -> MedsegError:
    """The error where the libraries of a node are not installed."""
    return MedsegError(
        "the libraries of a node", got="an installation without", advice="Run pip install 'medseg[node]'."
    )


def _parsed(path: Path) -> tuple[dict[str, Any], dict[_Place, int]]:
    """The content of the file, and the place of each value to its line."""
    import yaml

    lines: dict[_Place, int] = {}
    try:
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _note_lines(node, (), lines, path.name)
        content = yaml.safe_load(text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError("a node.yaml", got=f"{path}: {reason}", advice="Check the path.") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path.name}, line {mark.line + 1}" if mark else path.name
        got = getattr(error, "problem", None) or "something else"
        raise UsageError(f"YAML in {place}", got=got, advice="Repair it.") from error
    if not isinstance(content, dict):
        raise UsageError(f"keys and values in {path.name}", got="something else", advice="Write `home: ...`.")
    return content, lines


def _note_lines(node: Any, place: _Place, lines: dict[_Place, int], file: str) -> None:
    import yaml

    if node is None:
        return
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in lines:
                raise UsageError(
                    "each key once",
                    got=f"`{key.value}` a second time in {file}, line {key.start_mark.line + 1}",
                    advice="Remove one of the two.",
                )
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _note_lines(value, (*place, number), lines, file)


def _archives(records: Any, own: str | None, folder: Path) -> dict[str, Any]:
    """The archives; medseg calls itself in them as its DICOM service is called."""
    from medseg.archive.address import archives_from

    if isinstance(records, Mapping) and own:
        records = {
            name: {"calling": own, **record}
            if isinstance(record, Mapping) and record.get("kind") == "dimse"
            else record
            for name, record in records.items()
        }
    return archives_from(records, folder.absolute())


def _usage_error(error: Mapping[str, Any], file: str, lines: Mapping[_Place, int]) -> UsageError:
    """The first thing that is wrong, in words of the file."""
    place: _Place = tuple(error["loc"])
    kind, value = error["type"], error.get("input")
    where = f"{_named(place[:-1]) or 'the file'} in {_line(file, place, lines)}"
    if kind == "extra_forbidden":
        key = str(place[-1])
        return UsageError(f"a key of {where}", got=f"`{key}`", advice=did_you_mean(key, _fields(place[:-1])))
    if kind == "missing":
        return UsageError(f"`{place[-1]}` in {where}", got="no such key", advice="Add it.")
    wanted = _WANTED.get(
        kind, str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    )
    got = repr(value)
    return UsageError(
        f"`{_named(place)}` in {_line(file, place, lines)} to be {wanted}",
        got=got if len(got) <= 60 else f"{got[:57]}...",
        advice="Repair it.",
    )


def _named(place: _Place) -> str:
    """A place such as rules[0].when.modality."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def _line(file: str, place: _Place, lines: Mapping[_Place, int]) -> str:
    for end in range(len(place), -1, -1):
        if place[:end] in lines:
            return f"{file}, line {lines[place[:end]]}"
    return file


def _fields(place: _Place) -> list[str]:
    """The keys that may stand at a place."""
    from medseg.server.config import NodeConfig, Section

    model: Any = NodeConfig
    for part in place:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation, Section))
    return list(model.model_fields)


def _models(annotation: Any, base: type) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, base):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner, base)


def _check(config: NodeConfig, file: str, lines: Mapping[_Place, int]) -> None:
    """What the rules name must exist, before anything is received for them."""
    if config.dicom is None and config.rest is None:
        raise UsageError(
            f"`dicom` or `rest` in {file}", got="neither", advice="Add one: a node is spoken to."
        )
    if config.dicom is not None and not config.rules:
        raise UsageError(
            f"`rules` in {file}", got="none", advice="Add one: what comes by DICOM needs a rule."
        )
    names: list[str] = []
    for number, rule in enumerate(config.rules):
        where = _line(file, ("rules", number), lines)
        if rule.name in names:
            raise UsageError("rules with names of their own", got=f"{rule.name} twice", advice="Rename one.")
        names.append(rule.name)
        try:
            _check_rule(rule.task, rule.method, rule.mode, rule.formats)
        except MedsegError as error:
            raise UsageError(
                f"{error.expected} in rule {rule.name} ({where})", got=error.got, advice=error.advice
            ) from error
        if rule.send_to and not any(FORMATS[name].needs in ARCHIVED for name in rule.formats):
            raise UsageError(
                f"a DICOM format in rule {rule.name} ({where}), whose results go to an archive",
                got=", ".join(rule.formats) or "no `formats`",
                advice=f"Add one of {', '.join(n for n, one in FORMATS.items() if one.needs in ARCHIVED)}.",
            )
        for name in rule.send_to:
            if name not in config.archives:
                known = did_you_mean(name, config.archives) if config.archives else "Add it to `archives`."
                raise UsageError(
                    f"an archive of {file} in rule {rule.name} ({where})", got=name, advice=known
                )


def _check_rule(task: str, method: str | None, mode: str, formats: Sequence[str]) -> None:
    from medseg.bundle.files import open_bundle
    from medseg.bundle.methods import read_method
    from medseg.modes import check_mode

    read_method(open_bundle(task), method)
    check_formats(formats)
    check_mode(mode)


def _absolute(config: NodeConfig, folder: Path) -> NodeConfig:
    """Paths that start from the file's folder."""
    changes: dict[str, Any] = {"home": folder / config.home.expanduser()}
    if config.rest is not None:
        tokens = folder / config.rest.tokens_file.expanduser()
        changes["rest"] = config.rest.model_copy(update={"tokens_file": tokens})
    return config.model_copy(update=changes)
