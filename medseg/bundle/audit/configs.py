"""Configurations: every value of a tree is judged by where it stands and by what MONAI would do with it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from medseg.bundle.audit import expressions, names
from medseg.bundle.audit.documents import Document, Node, distinct
from medseg.bundle.audit.expressions import Fault
from medseg.bundle.audit.findings import WARN, Finding, line_of, printable
from medseg.bundle.audit.paths import path_fault

# Arguments by which a class of MONAI finds a class by name, wherever they stand, and what they may be.
_BY_NAME = {"reader": "Reader", "writer": "Writer", "merger_cls": "Merger"}
_BY_SHORT_NAME = {"itk", "nibabel", "numpy", "pil", "pydicom", "nrrd"}
# Arguments that would let a pickle in, or start a debugger, and the only value that they may have.
_ONLY = {"allow_pickle": "false", "weights_only": "true", "_debug_": "false", "trust_remote_code": "false"}
_CODE_MODULES = re.compile(
    r"(os|sys|subprocess|builtins|importlib|shutil|runpy|pty|pdb|code|codeop|ctypes|socket|pickle|marshal|shelve|"
    r"types|operator|urllib|http|ftplib|multiprocessing|threading|asyncio|tempfile|webbrowser|timeit|site|posix|nt|"
    r"cloudpickle|dill|joblib|yaml|torch\.hub|torch\.load|torch\.jit|numpy\.load|monai\.bundle|monai\.apps|"
    r"monai\.auto3dseg|monai\.utils|medseg\.cli|requests)(\.[A-Za-z_]\w*)+"
)
_KEY = re.compile(r"[^'\"()\[\]{};\\\n\r\0]*")


@dataclass(frozen=True)
class Value:
    """A scalar of a configuration, with its identity such as `train::trainer::amp`."""

    identity: str
    node: Node

    @property
    def text(self) -> str:
        return self.node.text or ""

    @property
    def parts(self) -> list[str]:
        return self.identity.split("::")


def imported_names(documents: Mapping[str, Document]) -> set[str]:
    """The names that allowed imports of a bundle bind; its files are laid over each other, so all count."""
    found = set()
    for document in documents.values():
        for value in _scalars(document):
            imported = _import(value.text) if value.node.is_text else None
            if imported and imported.name and not expressions.import_fault(value.text):
                found.add(imported.bound)
    return found


def judge_modes(documents: Mapping[str, Document]) -> Iterator[Finding]:
    """`_mode_: callable` gives a class as a value, to be called with arguments that nobody has seen.

    It is left to medseg's own functions and to torch: classes of MONAI import what their arguments name.
    Files are laid over each other, so that _mode_ and _target_ may stand in two of them.
    """
    targets: dict[str, list[str]] = {}
    modes: list[tuple[str, Document, Value]] = []
    for name, document in documents.items():
        for value in _scalars(document):
            if value.parts[-1] == "_target_":
                targets.setdefault(value.identity.removesuffix("_target_"), []).append(value.text)
            elif value.parts[-1] == "_mode_" and value.text == "callable":
                modes.append((name, document, value))
    for name, document, value in modes:
        called = targets.get(value.identity.removesuffix("_mode_"), [""])
        if not all(target.startswith(("medseg.", "torch.")) for target in called):
            reason = f"the class {printable(called[0], 60)} as a value, to be called with any arguments"
            yield _finding(name, document, value.node, Fault("mode", reason, value.text))


def judge_config(name: str, document: Document, known: Collection[str]) -> list[Finding]:
    """The findings about one file of configuration.

    Args:
        name: of the file.
        document: its tree.
        known: see imported_names.
    """
    if document.root is None:
        return document.findings
    found = list(document.findings)
    if document.root.pairs is None:
        return found
    is_metadata = name.endswith("metadata.json")
    for node in distinct(document.root):
        for key, entry in node.pairs or ():
            fault = _key_fault(key.text or "", is_metadata) or _switch_fault(key.text or "", entry)
            if fault:
                found.append(_finding(name, document, key, fault))
    for value in _scalars(document):
        # MONAI puts metadata.json into the configuration as _meta_.
        places = [value, Value(f"_meta_::{value.identity}", value.node)] if is_metadata else [value]
        for place in places:
            found += [_finding(name, document, value.node, fault) for fault in _faults(place, known)]
        if not is_metadata:
            found += _paths(name, document, value)
    return found


def _finding(name: str, document: Document, node: Node, fault: Fault) -> Finding:
    line = _line(document, node, fault.part)
    return Finding(fault.severity, fault.rule, name, line, fault.reason, line_of(document.lines, line))


def _line(document: Document, node: Node, part: str) -> int:
    """The line of a value, or inside of a value of several lines that of its part."""
    numbers = range(node.line, min(node.end, len(document.lines)) + 1)
    for wanted in (part, *reversed(re.findall(r"\w{3,}", part))):
        for number in numbers if wanted else ():
            if wanted in document.lines[number - 1]:
                return number
    return node.line


def _key_fault(key: str, is_metadata: bool) -> Fault | None:
    if key.startswith(("$", "@", "%")):
        return Fault("key", "a key that reads as an expression, a reference or a macro", key)
    if not is_metadata and not _KEY.fullmatch(key):
        return Fault(
            "key", "a key with quotes, brackets or control characters, which could end up in expressions", key
        )
    return None


def _switch_fault(key: str, value: Node) -> Fault | None:
    """Why a switch that could let a pickle in is no switch: Python takes `[false]` and `'false'` for true.

    An entry that lies in a switch, such as `allow_pickle::0`, makes a list or a mapping of it.
    """
    parts = _identity(key).split("::")
    switch = next((part for part in parts if part in _ONLY), None)
    if switch is None or (switch == parts[-1] and value.text is not None and not value.is_text):
        return None
    return Fault("pickle", f"{switch} that is no plain {_ONLY[switch]}, where nothing else is safe", key)


def _scalars(document: Document) -> Iterator[Value]:
    """Every scalar with its identity; aliases are followed."""
    waiting = [("", document.root)] if document.root else []
    while waiting:
        identity, node = waiting.pop()
        if node.text is not None:
            yield Value(identity, node)
        children = [(str(number), item) for number, item in enumerate(node.items or ())]
        children += [(_identity(key.text or ""), item) for key, item in node.pairs or ()]
        waiting += [(f"{identity}::{key}" if identity else key, item) for key, item in reversed(children)]


def _identity(key: str) -> str:
    """A key as MONAI's identifiers have it: # separates too, and + before it merges."""
    return key.removeprefix("+").replace("#", "::")


def _faults(value: Value, known: Collection[str]) -> list[Fault]:
    last, text = value.parts[-1], value.text
    if "_target_" in value.parts[:-1]:
        return [Fault("target", "a _target_ that is built, so that nobody can say what is called", text)]
    if last == "_target_":
        return _target(text)
    if last == "_mode_" and text not in ("default", "callable"):
        return [Fault("mode", f"_mode_ {printable(text, 40)}, which starts a debugger or is computed", text)]
    if last in _ONLY and text.lower() != _ONLY[last]:
        return [Fault("pickle", f"{last} {printable(text, 40)}, where only {_ONLY[last]} is safe", text)]
    by_name = next((part for part in value.parts if part in _BY_NAME), None)
    if by_name and not value.parts[-1].startswith("_") and (fault := _class_by_name(by_name, value)):
        return [fault]
    if not value.node.is_text:
        return []
    if text.startswith("$"):
        return _expression(value, known)
    if text.startswith(("@", "%")):
        return _reference(value)
    if _CODE_MODULES.fullmatch(text):
        return [Fault("target", f"{printable(text, 60)}, the name of code that is not allowed", text)]
    return []


def _target(text: str) -> list[Fault]:
    if text.startswith(("$", "@", "%")):
        return [Fault("target", "a _target_ that is computed, so that nobody can say what is called", text)]
    if names.is_misspelt(text):
        return [Fault("target", f"{printable(text, 80)}, which medseg does not have", text, WARN)]
    if not names.is_allowed_target(text):
        return [Fault("target", f"{printable(text, 80)} is not on the list of allowed targets", text)]
    return []


def _class_by_name(key: str, value: Value) -> Fault | None:
    """A reader or writer, which MONAI imports by its name: only the known ones, in plain text."""
    at = value.parts.index(key)
    if not all(part.isdigit() for part in value.parts[at + 1 :]) or not value.node.is_text:
        return None  # an argument of a reader that is built by _target_, or null
    text = value.text
    is_known = names.is_allowed_target(text) and text.endswith(_BY_NAME[key])
    if is_known or text.lower().removesuffix("reader").removesuffix("writer") in _BY_SHORT_NAME:
        return None
    return Fault("target", f"{key} {printable(text, 60)}, which is imported by its name", text)


def _expression(value: Value, known: Collection[str]) -> list[Fault]:
    if _import(value.text) is None:
        return expressions.faults(value.text, value.identity, known)
    parts = value.parts
    if parts[0] != "imports" or len(parts) != 2:
        return [Fault("import", "an import that does not stand in the list imports", value.text)]
    fault = expressions.import_fault(value.text)
    return [fault] if fault else []


def _import(text: str) -> expressions.Import | None:
    return expressions.read_import(text) if text.startswith("$") and "import" in text else None


def _reference(value: Value) -> list[Fault]:
    if len(value.text) > expressions.MOST_CHARACTERS:
        return [Fault("reference", f"longer than {expressions.MOST_CHARACTERS} characters", "")]
    try:
        text = expressions.resolved(value.text, value.identity)
    except ValueError as error:
        return [Fault("reference", str(error), value.text)]
    if text.startswith("%") and re.search(r"\.(json|ya?ml)", text, re.IGNORECASE):
        return [Fault("macro", "a macro that reads another file", value.text)]
    fault = expressions.reference_fault(text[1:])
    return [fault] if fault else []


def _paths(name: str, document: Document, value: Value) -> Iterator[Finding]:
    if value.parts[-1] in ("_desc_", "_target_") or not value.node.is_text:
        return
    for text in _texts(value.text):
        if fault := path_fault(text):
            line = _line(document, value.node, text)
            yield Finding(fault[0], "path", name, line, fault[1], line_of(document.lines, line))


def _texts(text: str) -> list[str]:
    """A text, or the texts inside of an expression."""
    if not text.startswith("$") or len(text) > expressions.MOST_CHARACTERS:
        return [text]
    try:
        tree = ast.parse(text[1:].replace("@", "_"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    nodes = ast.walk(tree)
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
