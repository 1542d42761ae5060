"""Where a bundle and its weights come from: hashes, addresses of large files, metadata, licences."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from medseg.bundle.audit.documents import Document, Node, distinct
from medseg.bundle.audit.findings import REFUSE, WARN, Finding, line_of, printable
from medseg.bundle.audit.source import File, leaves
from medseg.bundle.audit.weights import is_weights

METADATA = "configs/metadata.json"
_EXPECTED = (
    *("version", "task", "description", "authors", "copyright", "monai_version", "pytorch_version"),
    *("numpy_version", "network_data_format"),
)
_LICENCES = re.compile(r"(licen[cs]e|copying)(\.\w+)?", re.IGNORECASE)
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b", re.IGNORECASE)
_LARGE_FILES = re.compile(r"large_files?\.(ya?ml|json)", re.IGNORECASE)
_MOST_CHARACTERS = 1000  # of a value that names a file
_HASH_LENGTHS = {"sha256": 64, "sha512": 128, "md5": 32, "sha1": 40}


def judge_metadata(files: Iterable[File], document: Document) -> Iterator[Finding]:
    """A licence, and the fields of metadata.json that say what the bundle is and was made with."""
    if not any(_LICENCES.fullmatch(file.name) for file in files):
        yield Finding(WARN, "licence", "LICENSE", None, "no licence, so nobody may use it")
    pairs = (document.root.pairs if document.root else None) or []
    keys = {key.text: value for key, value in pairs}
    if document.root is not None and document.root.pairs is None:
        yield Finding(REFUSE, "metadata", METADATA, 1, "no object with fields")
    for name in _EXPECTED:
        if name not in keys:
            yield Finding(WARN, "metadata", METADATA, None, f"the field {name} is missing")
    holder = keys.get("copyright")
    if holder is not None and not (holder.text or "").strip():
        line = line_of(document.lines, holder.line)
        yield Finding(WARN, "licence", METADATA, holder.line, "the field copyright is empty", line)


def judge_hashes(files: Sequence[File], documents: Mapping[str, Document]) -> Iterator[Finding]:
    """Whether each file of weights has a SHA-256 in the configuration, and is the one that is meant."""
    pinned = {digest.lower() for text in _texts(documents) for digest in _SHA256.findall(text)}
    expected = list(_pins(documents))
    for file in files:
        if not is_weights(file):
            continue
        with file.open() as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        if found in pinned:
            continue
        other = next((pin for pin in expected if pin[0] == PurePosixPath(file.name).name), None)
        if other:
            _, name, node = other
            reason = f"the SHA-256 of another file than {printable(file.name, 60)}, which has {found}"
            line = line_of(documents[name].lines, node.line)
            yield Finding(REFUSE, "hash", name, node.line, reason, line)
        else:
            yield Finding(
                WARN, "hash", file.name, None, "no configuration pins its SHA-256", f"sha256 {found}"
            )


def _texts(documents: Mapping[str, Document]) -> Iterator[str]:
    for document in documents.values():
        if document.root is not None:
            yield from (node.text for node in distinct(document.root) if node.text)


def _pins(documents: Mapping[str, Document]) -> Iterator[tuple[str, str, Node]]:
    """File name of weights, configuration and node of the SHA-256 that stands beside it."""
    for name, document in documents.items():
        for node in distinct(document.root) if document.root else ():
            values = {key.text: value for key, value in node.pairs or ()}
            pin, weights = values.get("weights_sha256"), values.get("weights")
            if pin and weights and _SHA256.fullmatch(pin.text or ""):
                for found in re.findall(r"[\w.-]+\.\w+", (weights.text or "")[:_MOST_CHARACTERS]):
                    yield found, name, pin


def judge_large_files(documents: Mapping[str, Document]) -> Iterator[Finding]:
    """large_files.yml, by which MONAI fetches weights: where from, where to, and how they are checked."""
    for name, document in documents.items():
        if not _LARGE_FILES.fullmatch(PurePosixPath(name).name) or document.root is None:
            continue
        for node in distinct(document.root):
            values = {key.text: value for key, value in node.pairs or ()}
            if "url" in values or "path" in values:
                for severity, at, reason in _large_file(values):
                    line = (at or node).line
                    yield Finding(severity, "large file", name, line, reason, line_of(document.lines, line))


def _large_file(values: Mapping[str | None, Node]) -> Iterator[tuple[str, Node | None, str]]:
    url, path = values.get("url"), values.get("path")
    if path is not None and leaves(path.text or ""):
        yield REFUSE, path, "a file that is written outside of the bundle (GHSA-x4pc-gj5h-3pq7)"
    if url is not None and not (url.text or "").startswith("https://"):
        yield REFUSE, url, "an address without https, on the way from which the file can be changed"
    digest, kind = values.get("hash_val"), values.get("hash_type")
    algorithm = (kind.text or "").lower() if kind else "sha256"
    if digest is None or len(digest.text or "") != _HASH_LENGTHS.get(algorithm, -1):
        yield REFUSE, digest or url, "no hash by which the file could be checked (GHSA-hhh4-h52m-fqh6)"
    elif algorithm in ("md5", "sha1"):
        yield WARN, kind or digest, f"checked by {algorithm} alone, for which files can be forged"
