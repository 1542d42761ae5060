"""Audit a bundle: every file of it, each by its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from medseg.bundle.audit import documents as trees
from medseg.bundle.audit.configs import imported_names, judge_config, judge_modes
from medseg.bundle.audit.documents import Document, read_document
from medseg.bundle.audit.findings import REFUSE, WARN, Finding, Report, ordered, printable
from medseg.bundle.audit.logging_conf import SUFFIXES as LOGGING_SUFFIXES
from medseg.bundle.audit.logging_conf import judge_logging
from medseg.bundle.audit.provenance import METADATA, judge_hashes, judge_large_files, judge_metadata
from medseg.bundle.audit.source import File, Source, digest, open_source
from medseg.bundle.audit.weights import judge_weights

_PYTHON = (".py", ".pyc", ".pyo", ".pyw", ".pyx", ".pth.py", ".ipynb")
_NATIVE = (".so", ".pyd", ".dll", ".dylib", ".exe")
_SCRIPTS = (".sh", ".bash", ".bat", ".cmd", ".ps1", ".js")
_MAGIC = {b"\x7fELF": "a program", b"MZ": "a program", b"#!": "a script"}


def audit_bundle(path: str | Path) -> Report:
    """Read a bundle, in a folder or a zip archive, and tell what is wrong with it. Nothing of it is executed.

    Raises:
        UsageError: there is no bundle.
    """
    with open_source(path) as source:
        documents = _documents(source)
        findings = [
            *_judged(source, documents),
            *judge_metadata(source.files, documents[METADATA]),
            *judge_hashes(source.files, documents),
        ]
        return Report(source.name, len(source.files), digest(source.files), ordered(findings))


def audit_files(path: str | Path) -> tuple[Finding, ...]:
    """The findings to refuse a bundle for: what `audit_bundle` finds without reading all of its weights.

    Errors of syntax are left out: MONAI can't read such a file either, and says so.
    """
    with open_source(path) as source:
        found = ordered(_judged(source, _documents(source)))
        return tuple(one for one in found if one.severity == REFUSE and one.rule != "syntax")


def _documents(source: Source) -> dict[str, Document]:
    found = {}
    for file in source.files:
        if file.suffix in trees.SUFFIXES:
            found[file.name] = read_document(printable(file.name), file.head(trees.MOST_BYTES + 1))
    return found


def _judged(source: Source, documents: Mapping[str, Document]) -> Iterator[Finding]:
    yield from source.findings
    known = imported_names(documents)
    for name, document in documents.items():
        yield from judge_config(printable(name), document, known)
    yield from judge_modes(documents)
    yield from judge_large_files(documents)
    for file in source.files:
        if file.name not in documents:
            yield from _judge_file(file)


def _judge_file(file: File) -> Iterator[Finding]:
    name = printable(file.name)
    if file.suffix in _PYTHON:
        yield Finding(REFUSE, "code", name, None, "Python code, which runs when a configuration imports it")
    elif file.suffix in _NATIVE or PurePosixPath(file.name).name.lower().endswith(".so"):
        yield Finding(REFUSE, "code", name, None, "a library or program in machine code")
    elif file.suffix in _SCRIPTS:
        yield Finding(WARN, "code", name, None, "a script, which medseg does not run")
    elif file.suffix in LOGGING_SUFFIXES:
        yield from judge_logging(name, file.head(trees.MOST_BYTES))
    else:
        head = file.head(4)
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
        if kind:
            severity = REFUSE if kind == "a program" else WARN
            yield Finding(severity, "code", name, None, f"{kind}, whatever its name says")
        elif file.suffix in (".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
            yield Finding(WARN, "archive", name, None, "an archive that is not looked into")
        else:
            yield from judge_weights(file)
