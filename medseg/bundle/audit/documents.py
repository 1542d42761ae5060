"""YAML and JSON as trees of text whose parts know their lines; nothing is constructed, aliases stay cheap.

MONAI reads these files by a safe loader, but what it reads is then evaluated. So a tree is made of events
alone, within limits of size, depth and aliases, and tags that would build an object are told.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import scanner
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from medseg.bundle.audit.findings import REFUSE, Finding, line_of, printable

MOST_BYTES, MOST_DEPTH, MOST_NODES = 4 * 2**20, 60, 50_000
# Lists of digests and numbers: no text in them can be an expression, a reference, a path or a name of code.
_INERT = re.compile(r'[\w\s{}\[\]":,-]*', re.ASCII)
_NEAR = 20_000  # characters in which a key is looked for
SUFFIXES = (".json", ".yaml", ".yml")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}


class UnsafeDocument(Exception):
    """A document that can't be read, or only with a risk; carries rule, line and reason."""

    def __init__(self, rule: str, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.rule, self.line, self.reason = rule, line, reason


@dataclass
class Node:
    """A scalar (text), a sequence (items) or a mapping (pairs of key and value)."""

    line: int
    text: str | None = None
    items: list[Node] | None = None
    pairs: list[tuple[Node, Node]] | None = None
    # Whether a scalar is text for a loader, and no number, switch or null.
    is_text: bool = True
    # The last line of a scalar.
    end: int = 0
    # How many values it stands for when aliases are followed, and how deep they are.
    size: int = 1
    depth: int = 1


@dataclass
class Document:
    """A file's tree (None if it can't or need not be read), its lines, and what was found on the way."""

    root: Node | None
    lines: list[str]
    findings: list[Finding] = field(default_factory=list)


def read_document(name: str, content: bytes) -> Document:
    """Read a file of configuration; whatever is wrong with it becomes a finding."""
    if len(content) > MOST_BYTES:
        reason = f"more than {MOST_BYTES // 2**20} MB of configuration"
        return Document(None, [], [Finding(REFUSE, "size", name, None, reason)])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return Document(None, [], [Finding(REFUSE, "encoding", name, None, "not UTF-8")])
    if name.endswith(".lineage.json") and _INERT.fullmatch(text) and "_target_" not in text:
        return Document(None, [])
    lines = text.splitlines()
    try:
        root = _read_json(text) if name.lower().endswith(".json") else _read_yaml(text)
        duplicates = [] if root is None else list(_duplicates(root))
    except UnsafeDocument as error:
        found = Finding(REFUSE, error.rule, name, error.line, error.reason, line_of(lines, error.line))
        return Document(None, lines, [found])
    found_twice = [
        Finding(
            REFUSE, "duplicate key", name, key.line,
            f"the key {printable(key.text, 60)} stands twice: readers differ in which one counts",
            line_of(lines, key.line),
        )
        for key in duplicates
    ]  # fmt: skip
    return Document(root, lines, found_twice)


def _duplicates(root: Node) -> Iterator[Node]:
    """Keys that stand twice in one mapping."""
    for node in distinct(root):
        seen = set()
        for key, _ in node.pairs or ():
            if key.text in seen and key.text != "<<":
                yield key
            seen.add(key.text)


def distinct(root: Node) -> Iterator[Node]:
    """Every node once, however many aliases lead to it."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        waiting.extend(node.items or ())
        waiting.extend(part for pair in node.pairs or () for part in pair)


def _read_yaml(text: str) -> Node | None:
    import yaml

    try:
        # By the parser that MONAI uses: libyaml is ten times as fast and may read a file in another way.
        return _Composer().compose(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise UnsafeDocument(
            "syntax", line, f"no YAML: {printable(getattr(error, 'problem', error), 80)}"
        ) from error


class _Composer:
    """Builds the tree of one document out of YAML's events, without recursion."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.open: list[tuple[Node, list[Node]]] = []  # containers that are not closed, with their children
        self.anchors: dict[str, Node] = {}
        self.documents = 0
        self.nodes = 0

    def compose(self, events: Any) -> Node | None:
        for event in events:
            kind = type(event).__name__
            line = event.start_mark.line + 1 if event.start_mark else 1
            if kind == "DocumentStartEvent":
                self.documents += 1
                if self.documents > 1:
                    raise UnsafeDocument("syntax", line, "several documents in one file")
            elif kind in ("SequenceStartEvent", "MappingStartEvent"):
                self._start(event, line)
            elif kind in ("SequenceEndEvent", "MappingEndEvent"):
                self._close(kind == "MappingEndEvent")
            elif kind == "ScalarEvent":
                self._scalar(event, line)
            elif kind == "AliasEvent":
                self._alias(event.anchor, line)
        return self.root

    def _add(self, node: Node, line: int) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise UnsafeDocument("bomb", line, f"more than {MOST_NODES} values")
        if self.open:
            self.open[-1][1].append(node)
        else:
            self.root = node

    def _start(self, event: Any, line: int) -> None:
        if event.tag not in (None, "!") and event.tag not in _PLAIN_TAGS:
            raise UnsafeDocument(
                "tag", line, f"the YAML tag {printable(event.tag, 80)}, which builds an object"
            )
        node = Node(line)
        self._add(node, line)
        self.open.append((node, []))
        if len(self.open) > MOST_DEPTH:
            raise UnsafeDocument("bomb", line, f"nested deeper than {MOST_DEPTH}")
        if event.anchor:
            self.anchors[event.anchor] = node

    def _close(self, is_mapping: bool) -> None:
        node, children = self.open.pop()
        node.size += sum(child.size for child in children)
        node.depth += max((child.depth for child in children), default=0)
        if node.size > MOST_NODES or node.depth > MOST_DEPTH:
            raise UnsafeDocument("bomb", node.line, f"{node.size} values when its aliases are followed")
        if not is_mapping:
            node.items = children
            return
        node.pairs = list(zip(children[::2], children[1::2], strict=True))
        for key, _ in node.pairs:
            if key.text is None:
                raise UnsafeDocument("syntax", key.line, "a key that is a list or a mapping")

    def _scalar(self, event: Any, line: int) -> None:
        if event.tag not in (None, "!") and event.tag not in _PLAIN_TAGS:
            raise UnsafeDocument(
                "tag", line, f"the YAML tag {printable(event.tag, 80)}, which builds an object"
            )
        is_plain = event.style is None and event.tag is None
        node = Node(line, text=event.value, is_text=not is_plain or not _is_number(event.value))
        node.end = event.end_mark.line + 1
        self._add(node, line)
        if event.anchor:
            self.anchors[event.anchor] = node

    def _alias(self, anchor: str, line: int) -> None:
        node = self.anchors.get(anchor)
        if node is None:
            raise UnsafeDocument("syntax", line, f"the alias *{printable(anchor, 40)} of no anchor")
        if any(node is container for container, _ in self.open):
            raise UnsafeDocument("bomb", line, "an alias inside of what it stands for")
        self._add(node, line)


def _is_number(text: str) -> bool:
    if text.lower() in ("", "~", "null", "true", "false", "yes", "no", "on", "off"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Text(str):
    """A text of a JSON file that knows where it starts."""

    at = 0


def _read_json(text: str) -> Node:
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)

    def parse_string(string: str, end: int, strict: bool = True) -> tuple[str, int]:
        value, after = scanstring(string, end, strict)
        found = _Text(value)
        found.at = end
        return found, after

    decoder.parse_string = parse_string  # type: ignore[attr-defined]
    # The C scanner ignores parse_string.
    decoder.scan_once = scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    try:
        content = decoder.decode(text)
    except RecursionError as error:
        raise UnsafeDocument("bomb", None, f"nested deeper than {MOST_DEPTH}") from error
    except ValueError as error:
        raise UnsafeDocument("syntax", getattr(error, "lineno", None), f"no JSON: {error}") from error
    return _JsonTree(text).node(content, 1, 0)


class _Pairs(list):
    """An object of a JSON file, with keys that stand twice."""


class _JsonTree:
    """Gives decoded JSON its lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def node(self, value: Any, line: int, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise UnsafeDocument("bomb", line, f"nested deeper than {MOST_DEPTH}")
        if isinstance(value, _Pairs):
            pairs = []
            for key, entry in value:
                line = self._key_line(key, line)
                pairs.append((Node(line, text=key), self.node(entry, line, depth + 1)))
            return Node(pairs[0][0].line if pairs else line, pairs=pairs)
        if isinstance(value, list):
            return Node(line, items=[self.node(entry, line, depth + 1) for entry in value])
        if isinstance(value, _Text):
            return Node(bisect(self.starts, value.at), text=str(value))
        return Node(line, text=json.dumps(value), is_text=False)

    def _key_line(self, key: str, after: int) -> int:
        """The line of a key, from the line of the key before it: json does not tell it."""
        start = self.starts[after - 1]
        at = self.text.find(json.dumps(key, ensure_ascii=False), start, start + _NEAR)
        return after if at < 0 else bisect(self.starts, at)
