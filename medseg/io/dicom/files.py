"""Find DICOM files in a folder, a zip archive or a list by their content, never by their names.

Files that are empty, encrypted, damaged or not DICOM are skipped and counted by reason. The content of a zip
archive is never written to disk.
"""

from __future__ import annotations

import itertools
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError
from medseg.io.dicom.archive import (
    DAMAGED,
    FORBIDDEN,
    FREE_BYTES,
    MOST_FILES,
    MOST_RATIO,
    TOO_LARGE,
    Entry,
    SkipFile,
    clean_name,
    members,
    require_few,
)
from medseg.io.dicom.dicomdir import is_dicomdir, studies_on
from medseg.io.dicom.guarded import guarded
from medseg.io.dicom.multipart import parts_in, saved_body
from medseg.io.dicom.quiet import quiet_pydicom

# Larger files don't fit a workstation's memory; 4000 frames of 512x512 take 2 GiB.
MOST_FILE_BYTES = 2 * 2**30
# Bytes that are read to find the header: enough for a single slice, for most multi-frame files, for all.
HEAD_BYTES = (64 * 2**10, 8 * 2**20, 256 * 2**20)
# Threads that read headers. They wait for a network drive together; parsing holds the GIL, so that more
# threads gain nothing.
READERS = 4

NOT_DICOM, EMPTY, DICOMDIR = "not DICOM", "empty", "DICOMDIR"
# Reasons that need no warning: such files are normal on the disc of a study.
HARMLESS = {NOT_DICOM, DICOMDIR}

_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1"
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class DicomFile:
    """One DICOM file whose header has been read; its pixels are read later.

    Attributes:
        name: base name, for messages.
        header: pydicom data set up to the pixels.
        pixel_tag: tag of the pixel data; None when the file has none.
        pixel_start: offset of the pixel data in the loaded file, in bytes.
        pixel_bytes: declared length of the pixel data; UNDEFINED_LENGTH when it is compressed.
        load: reads the whole file, inflated where it was deflated.
    """

    name: str
    header: Any
    pixel_tag: int | None
    pixel_start: int
    pixel_bytes: int
    load: Callable[[], bytes]


@dataclass
class Found:
    """The DICOM files of a source, and how many other files were skipped for each reason."""

    files: list[DicomFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def summary(self, harmless: bool = True) -> str:
        """The skipped files, such as "2 damaged, 1 not DICOM"; with the HARMLESS ones if `harmless`."""
        return ", ".join(
            f"{count} {reason}"
            for reason, count in sorted(self.skipped.items())
            if harmless or reason not in HARMLESS
        )


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins like DICOM; reads 140 bytes. False for a path that can't be read."""
    try:
        with open(path, "rb") as file:
            return _looks_like_dicom(file.read(140))
    except OSError:
        return False


def holds_dicom(folder: str | Path) -> bool:
    """Whether any file in a folder or its subfolders begins like DICOM."""
    return any(True for _ in dicom_files(folder))


def dicom_files(folder: str | Path) -> Iterator[Path]:
    """The files in a folder and its subfolders that begin like DICOM."""
    return (path for path in _walk(Path(folder)) if is_dicom(path))


@contextmanager
def opened(source: str | Path | Sequence[str | Path]) -> Iterator[Found]:
    """All DICOM files of a folder, a zip archive, one file or several; they can be loaded within the block.

    Raises:
        UnreadableError: the path does not exist, holds no DICOM, or is an unsafe or damaged archive.
    """
    with ExitStack() as stack, quiet_pydicom():
        entries = _entries(source, stack)
        with ThreadPoolExecutor(READERS) as pool:
            outcomes = list(pool.map(_examine, entries))
        found = Found([file for file in outcomes if isinstance(file, DicomFile)])
        suffixes = {Path(file.name).suffix for file in found.files} - {""}
        for entry, reason in zip(entries, outcomes, strict=True):
            if isinstance(reason, str):
                # A file with the same suffix as the slices should be a slice.
                lost = reason == NOT_DICOM and Path(entry.name).suffix in suffixes
                found.skipped[DAMAGED if lost else reason] += 1
        if not found.files:
            raise UnreadableError(
                "DICOM files",
                got=f"{describe(source)} with {found.summary() or 'no file'}",
                advice="Name the folder, the zip archive or the files of a DICOM study.",
            )
        yield found


def study_uid(source: str | Path | Sequence[str | Path]) -> str | None:
    """The StudyInstanceUID, or else the SeriesInstanceUID, of the first DICOM file of a source.

    Files after that one are not read. None for a source that can't be read or has no DICOM.
    """
    with ExitStack() as stack, quiet_pydicom(), suppress(UnreadableError):
        for entry in _entries(source, stack):
            file = _examine(entry)
            if isinstance(file, DicomFile):
                return str(file.header.get("StudyInstanceUID") or file.header.SeriesInstanceUID)
    return None


def describe(source: str | Path | Sequence[str | Path]) -> str:
    """The name of a source for an error message: its base name, or the number of files."""
    if not isinstance(source, (str, Path)):
        return f"{len(source)} files"
    return Path(source).name or str(source)


def _entries(source: str | Path | Sequence[str | Path], stack: ExitStack) -> list[Entry]:
    if not isinstance(source, (str, Path)):
        paths = [Path(path) for path in source]
    elif os.path.isdir(source):
        paths = sorted(itertools.islice(_walk(Path(source)), MOST_FILES + 1))
    elif os.path.isfile(source):
        if _is_archive(Path(source)):
            return members(Path(source), stack)
        if body := saved_body(source):
            return parts_in(Path(source), *body, MOST_FILE_BYTES)
        paths = _listed(Path(source))
    else:
        paths = [Path(source)]
    missing = [path.name for path in paths if not os.path.isfile(path)]
    if missing:
        and_more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UnreadableError(
            "DICOM files",
            got=f"{', '.join(map(clean_name, missing[:3]))}{and_more}, which "
            f"{'does' if len(missing) == 1 else 'do'} not exist",
            advice="Check the path.",
        )
    require_few(len(paths), describe(source))
    return [Entry(clean_name(path.name), partial(_read_path, path)) for path in paths]


def _listed(path: Path) -> list[Path]:
    """The files that a DICOMDIR lists; a path to any other file by itself."""
    if not is_dicomdir(path):
        return [path]
    return [file for files in studies_on(path).values() for file in files]


def _is_archive(path: Path) -> bool:
    """Whether it is a zip archive by its content or, when that is damaged, by its name."""
    return (zipfile.is_zipfile(path) or path.suffix.lower() == ".zip") and not is_dicom(path)


def _walk(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders; links are followed, and each folder is entered once.

    A link to a parent of the folder is not followed.
    """
    root = Path(os.path.realpath(folder))
    entered = {root, *root.parents}
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        real = {
            Path(os.path.realpath(os.path.join(parent, name))): name for name in sorted(folders, reverse=True)
        }
        # os.walk enters the folders that remain in this list.
        folders[:] = sorted(name for path, name in real.items() if path not in entered)
        entered.update(real)
        for name in names:
            path = Path(parent, name)
            if path.is_file():  # reading a pipe or a device might never end
                yield path


def _refuse_folder(error: OSError) -> None:
    """Raise an error for a folder that can't be opened: otherwise its slices would be missing silently."""
    raise UnreadableError(
        "folders that can be read",
        got=f"{Path(error.filename).name}, which can't be opened ({error.strerror})",
        advice="Ask for the right to read it, or leave it out.",
    ) from error


def _read_path(path: Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except PermissionError as error:
        raise SkipFile(FORBIDDEN) from error
    except OSError as error:
        raise SkipFile(DAMAGED) from error


def _looks_like_dicom(head: bytes) -> bool:
    """Whether there is a preamble with DICM or, as in old files, an element of group 2 or 8 at the start.

    A file in which only the four letters DICM are damaged is recognized by the element after them, so that
    it is reported as damaged.
    """
    if head[128:132] == b"DICM" or head[132:138] == b"\2\0\0\0UL":
        return True
    if len(head) < 8 or head[0:2] not in (b"\2\0", b"\x08\0") or head[3] != 0:
        return False
    implicit_length = int.from_bytes(head[4:8], "little")
    return head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA", b"SH") or implicit_length <= 64


def _examine(entry: Entry) -> DicomFile | str:
    """The file with its header, or the reason why it is skipped."""
    try:
        head = entry.read(HEAD_BYTES[0])
        if not head:
            return EMPTY
        if entry.name.upper() == DICOMDIR:
            return DICOMDIR
        if not _looks_like_dicom(head):
            return NOT_DICOM
        return _with_header(entry, head)
    except UnreadableError:
        raise
    except SkipFile as reason:
        return str(reason)
    except Exception:  # pydicom raises whatever a damaged byte leads to
        return DAMAGED


def _with_header(entry: Entry, head: bytes) -> DicomFile | str:
    """Parse longer and longer beginnings of the file until one reaches the pixels."""
    content = head
    for most in HEAD_BYTES:
        if most != HEAD_BYTES[0]:
            content = entry.read(most)
        if _is_deflated(content):
            content = _inflate(entry.read(MOST_FILE_BYTES))
        header, tag, start, length = _parse(content)
        if tag is not None or len(content) < most:
            break
    else:
        return TOO_LARGE
    if header.file_meta.get("MediaStorageSOPClassUID") == _DICOMDIR_CLASS:
        return DICOMDIR
    if "SOPClassUID" not in header or "SeriesInstanceUID" not in header:
        return DAMAGED
    return DicomFile(entry.name, header, tag, start, length, partial(_load, entry))


def _load(entry: Entry) -> bytes:
    try:
        content = entry.read(MOST_FILE_BYTES)
        return _inflate(content) if _is_deflated(content) else content
    except SkipFile as reason:
        raise UnreadableError(
            "files that can be read to their end",
            got=f"file {entry.name}, which is {reason}",
            advice="Copy it again from its source.",
        ) from reason


def _parse(content: bytes) -> tuple[Any, int | None, int, int]:
    """The header, and tag, offset and declared length of the pixels; no tag when they are not reached."""
    from pydicom.filereader import read_partial

    reached: list[tuple[int, int, int]] = []
    stream = guarded(content)

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in _PIXEL_TAGS:
            reached.append((int(tag), stream.tell(), length))
        return tag in _PIXEL_TAGS

    try:
        header = read_partial(stream, stop_when=at_pixels, force=True)
    except UnreadableError as error:
        raise SkipFile(DAMAGED) from error
    header.buffer = None  # frees the bytes that were parsed
    _require_ascii(header)
    return (header, *reached[0]) if reached else (header, None, 0, 0)


def _require_ascii(header: Any) -> None:
    """Replace a declared character set that does not contain ASCII, as all of DICOM's do, by ISO 8859-1.

    pydicom accepts the name of any Python codec and could then read neither codes nor numbers.
    """
    try:
        declared = header.original_character_set
        known = all(
            "HU".encode(name) == b"HU" for name in ([declared] if isinstance(declared, str) else declared)
        )
    except Exception:  # codecs raise many types
        known = False
    if not known:
        header.set_original_encoding(*header.original_encoding, "iso8859")


def _is_deflated(content: bytes) -> bool:
    return _DEFLATED in content[:1024]


def _inflate(content: bytes) -> bytes:
    """Inflate a deflated file to explicit little endian (PS3.5 A.5), up to a limit, unlike pydicom."""
    start = 144 + int.from_bytes(
        content[140:144], "little"
    )  # 144: preamble, DICM and the group length element
    most = min(MOST_FILE_BYTES, len(content) * MOST_RATIO + FREE_BYTES)
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(content[start:], most)
    except zlib.error as error:
        raise SkipFile(DAMAGED) from error
    if not inflater.eof:
        raise SkipFile(TOO_LARGE if len(plain) >= most else DAMAGED)
    return content[:start].replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0"), 1) + plain
