"""Files of weights and other data, recognized by their content; only their headers and pickles are read."""

from __future__ import annotations

import ast
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from medseg.bundle.audit.findings import NOTE, REFUSE, WARN, Finding, printable
from medseg.bundle.audit.onnx import onnx_faults
from medseg.bundle.audit.pickles import PickleFault, pickle_faults
from medseg.bundle.audit.source import PICKLED, WEIGHTS, File, leaves

_UNREAD = {".joblib": "joblib", ".h5": "HDF5", ".engine": "TensorRT, which runs code of its own"}
_CODE = (
    *(".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".cmd", ".ps1", ".js", ".jar"),
    *(".cpp", ".cu"),
)
_ZIP, _MOST_HEADER, _MOST_PICKLE = b"PK\x03\x04", 100 * 2**20, 64 * 2**20
_TORCHSCRIPT = r"__torch__(\.\w+)*|torch\.jit\._pickle\.\w+"
_REACHES_OUT = re.compile(r"\b(from_file|torch\.save|torch\.load|torch\.classes|ops\.(?!prim\b|aten\b)\w+)")


def is_weights(file: File) -> bool:
    return file.suffix in WEIGHTS


def judge_weights(file: File) -> list[Finding]:
    """The findings about a file that is neither configuration nor code."""
    head = file.head(8)
    if head[:4] == _ZIP:
        return list(_judge_zip(file))
    found = list(_hidden_archive(file)) if head[:1] == b"\x80" or file.suffix in WEIGHTS else []
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return found + _pickle(file)
    if head[:6] == b"\x93NUMPY":
        with file.open() as stream:
            return found + _npy(file.name, stream, "")
    if file.suffix == ".onnx":
        with file.open() as stream:
            return found + [
                Finding(REFUSE, "onnx", file.name, None, reason) for reason in onnx_faults(stream)
            ]
    if file.suffix == ".safetensors":
        return found + _safetensors(file)
    if file.suffix in _UNREAD:
        reason = f"a format that is not looked into ({_UNREAD[file.suffix]})"
        return [*found, Finding(WARN, "weights", file.name, None, reason)]
    return found + (_pickle(file) if file.suffix in PICKLED else [])


def _pickle(file: File) -> list[Finding]:
    with file.open() as stream:
        faults = pickle_faults(stream)
    return [_pickled(file, fault) for fault in faults]


def _pickled(file: File, fault: PickleFault, member: str = "") -> Finding:
    severity = REFUSE if fault.acts else WARN
    return Finding(severity, "pickle", file.name, None, fault.reason, printable(member))


def _hidden_archive(file: File) -> Iterator[Finding]:
    with file.open() as stream:
        if zipfile.is_zipfile(stream):
            reason = "a zip archive behind other content: readers differ in what they see"
            yield Finding(REFUSE, "weights", file.name, None, reason)


def _judge_zip(file: File) -> Iterator[Finding]:
    """An archive: of torch, of TorchScript, of arrays, or any other."""
    try:
        with file.open() as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            yield from _members(file, members)
            is_script = any("/code/" in f"/{member.filename}" for member in members)
            if is_script:
                reason = "TorchScript: a program of its own, which runs when it is loaded and used"
                yield Finding(WARN, "TorchScript", file.name, None, reason)
            for member in members:
                if not member.flag_bits & 1:
                    yield from _member(file, archive, member, is_script)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        ValueError,
        EOFError,
        OSError,
    ) as error:
        reason = f"a damaged archive ({printable(error, 80)})"
        yield Finding(REFUSE, "weights", file.name, None, reason)


def _members(file: File, members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    seen: set[str] = set()
    for member in members:
        name, text = member.filename, printable(member.filename, 100)
        if leaves(name):
            reason = "an archive with a name that leads out of its folder (GHSA-9rg3-9pvr-6p27)"
            yield Finding(REFUSE, "archive", file.name, None, reason, text)
        elif name in seen:
            reason = "an archive with two files of one name, of which a reader sees one"
            yield Finding(REFUSE, "archive", file.name, None, reason, text)
        elif member.flag_bits & 1:
            yield Finding(REFUSE, "archive", file.name, None, "an encrypted archive", text)
        seen.add(name)


def _member(
    file: File, archive: zipfile.ZipFile, member: zipfile.ZipInfo, is_script: bool
) -> Iterator[Finding]:
    name, suffix = member.filename, PurePosixPath(member.filename).suffix.lower()
    if suffix in (".pkl", ".pickle"):
        if member.file_size > _MOST_PICKLE:
            yield Finding(
                REFUSE, "pickle", file.name, None, "a pickle too large to be looked through", printable(name)
            )
            return
        with archive.open(member) as stream:
            for fault in pickle_faults(stream, _TORCHSCRIPT if is_script else ""):
                yield _pickled(file, fault, name)
    elif suffix == ".npy":
        with archive.open(member) as stream:
            yield from _npy(file.name, stream, printable(name))
    elif is_script and suffix == ".py":
        yield from _script(file, archive, member)
    elif suffix in _CODE:
        yield Finding(REFUSE, "code", file.name, None, "an archive with code in it", printable(name))


def _script(file: File, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Finding]:
    with archive.open(member) as stream:
        lines = stream.read(_MOST_HEADER).decode("utf-8", "replace").splitlines()
    for line in lines:
        if found := _REACHES_OUT.search(line):
            reason = f"TorchScript that uses {printable(found[0], 60)}, which reaches files or libraries"
            yield Finding(REFUSE, "TorchScript", file.name, None, reason, printable(line))


def _npy(file: str, stream: IO[bytes], member: str) -> list[Finding]:
    """An array is a pickle where its header says that its elements are objects."""
    reason = "a damaged array"
    try:
        head = stream.read(12)
        wide = head[6] > 1
        start, length = (
            (12, struct.unpack("<I", head[8:12])[0]) if wide else (10, struct.unpack("<H", head[8:10])[0])
        )
        if head[:6] == b"\x93NUMPY" and length < 10_000:
            header = ast.literal_eval(
                (head + stream.read(start + length - len(head)))[start:].decode("latin1")
            )
            if not _has_objects(header["descr"]):
                return []
            reason = "an array of objects, which is a pickle (allow_pickle)"
    except (
        ValueError,
        SyntaxError,
        KeyError,
        TypeError,
        IndexError,
        struct.error,
        RecursionError,
        MemoryError,
    ):
        pass
    return [Finding(REFUSE, "pickle", file, None, reason, member)]


def _has_objects(description: object) -> bool:
    if isinstance(description, str):
        return "O" in description
    return any(_has_objects(field[1]) for field in description)  # type: ignore[attr-defined]


def _safetensors(file: File) -> list[Finding]:
    """A header in JSON, then numbers: nothing in it can run."""
    header = None
    try:
        with file.open() as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length <= min(_MOST_HEADER, file.size):
                header = json.loads(stream.read(length))
    except (ValueError, struct.error, RecursionError):
        pass
    if not isinstance(header, dict):
        return [Finding(REFUSE, "weights", file.name, None, "no safetensors, although its name says so")]
    return [Finding(NOTE, "weights", file.name, None, f"safetensors with {len(header)} entries")]
