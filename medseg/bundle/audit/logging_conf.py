"""logging.conf: logging.config.fileConfig evaluates class, args and kwargs (GHSA-wvpx-5qmp-46g3)."""

from __future__ import annotations

import ast
import configparser

from medseg.bundle.audit.findings import REFUSE, Finding, line_of, printable
from medseg.bundle.audit.paths import path_fault

SUFFIXES = (".conf", ".ini", ".cfg")
_EVALUATED = ("class", "args", "kwargs")
# Handlers that write to a stream or a file; those that send to another machine are left out.
_CLASSES = {
    *(
        "StreamHandler",
        "FileHandler",
        "NullHandler",
        "Formatter",
        "logging.StreamHandler",
        "logging.FileHandler",
    ),
    *("logging.NullHandler", "logging.Formatter", "handlers.RotatingFileHandler"),
    *("handlers.TimedRotatingFileHandler", "logging.handlers.RotatingFileHandler"),
    "logging.handlers.TimedRotatingFileHandler",
}
_STREAMS = {"sys.stdout", "sys.stderr"}
_MOST_CHARACTERS = 2000


def judge_logging(name: str, content: bytes) -> list[Finding]:
    """The findings about a file in the format of logging.config.fileConfig."""
    text = content.decode("utf-8", "replace")
    lines = text.splitlines()
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        first = getattr(error, "lineno", None)
        reason = f"no configuration of logging: {type(error).__name__}"
        return [Finding(REFUSE, "logging", name, first, reason, line_of(lines, first))]
    found = []
    for section in ("DEFAULT", *parser.sections()):
        values = parser.defaults() if section == "DEFAULT" else dict(parser.items(section))
        for key in _EVALUATED:
            if reason := _fault(key, (values.get(key) or "").strip()):
                line = _line(lines, section, key)
                found.append(Finding(REFUSE, "logging", name, line, reason, line_of(lines, line)))
    return found


def _fault(key: str, value: str) -> str:
    """Why a value that would be evaluated is refused; empty for one that is data."""
    if not value:
        return ""
    if "%(" in value or len(value) > _MOST_CHARACTERS:
        return f"{key} is put together from other values"
    if key == "class":
        return "" if value in _CLASSES else f"the class {printable(value, 60)}, which would be evaluated"
    try:
        tree = ast.parse(value, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"{key} can't be parsed"
    return _data_fault(key, tree.body)


def _data_fault(key: str, node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        path = path_fault(node.value) if isinstance(node.value, str) else None
        return f"{key} with {path[1]}" if path else ""
    if isinstance(node, ast.Attribute) and ast.unparse(node) in _STREAMS:
        return ""
    if isinstance(node, (ast.Tuple, ast.List, ast.Dict)):
        parts = [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr_context)]
        return next(filter(None, (_data_fault(key, part) for part in parts)), "")
    return f"{key} has {printable(ast.unparse(node), 60)}, which would be evaluated"


def _line(lines: list[str], section: str, key: str) -> int | None:
    """The line of a key in a section, or of the same key anywhere (it may come from [DEFAULT])."""
    inside, anywhere = False, None
    for number, line in enumerate(lines, 1):
        stripped = line.strip().lower()
        if stripped.startswith("["):
            inside = stripped.startswith(f"[{section.lower()}]")
        elif stripped.startswith(key) and stripped.removeprefix(key).lstrip()[:1] in ("=", ":"):
            anywhere = anywhere or number
            if inside:
                return number
    return anywhere
