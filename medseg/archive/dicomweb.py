"""DICOMweb: what a study holds (QIDO-RS), its files (WADO-RS), and files to an archive (STOW-RS)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medseg.archive.address import Archive, is_loopback
from medseg.archive.answers import Answer, File
from medseg.archive.received import Contents
from medseg.archive.tls import trusted, why_none
from medseg.errors import ArchiveAwayError, ArchiveRefusedError, UnreadableError
from medseg.io.dicom.files import MOST_FILE_BYTES
from medseg.io.dicom.multipart import boundary_of, parts_of

if TYPE_CHECKING:
    import httpx

CONNECT_S, READ_S = 10, 60
MOST_SECONDS = 3600  # of one answer, however slowly it comes
MOST_JSON_BYTES = 64 * 2**20
MOST_PAGES = 1000
_CHUNK_BYTES = 2**20
_JSON = "application/dicom+json"
_DICOM = 'multipart/related; type="application/dicom"'
# Codes of HTTP after which another try may succeed.
_AWAY = {408, 425, 429}
_STUDY, _SERIES, _INSTANCE, _CLASS, _MODALITY = "0020000D", "0020000E", "00080018", "00080016", "00080060"
_FAILED, _STORED, _REASON, _WARNING, _UID = "00081198", "00081199", "00081197", "00081196", "00081155"


def echo(archive: Archive) -> None:
    """Ask for one study, to see that the archive answers.

    Raises:
        ArchiveAwayError, ArchiveRefusedError: as of `contents`.
    """
    with _client(archive) as client:
        _search(client, archive, "studies", {"limit": "1"})


def contents(archive: Archive, study: str, series: str | None = None) -> dict[str, Contents]:
    """What the archive says that it holds of a study: SeriesInstanceUID to instances; empty for nothing.

    Raises:
        ArchiveAwayError: it can't be reached, or is out of order.
        ArchiveRefusedError: it says no, or answers with something else.
    """
    path = f"studies/{study}/instances" if series is None else f"studies/{study}/series/{series}/instances"
    found: dict[str, dict[str, str]] = {}
    modalities: dict[str, str] = {}
    with _client(archive) as client:
        count = 0
        for _ in range(MOST_PAGES):
            fields = f"{_CLASS},{_MODALITY}"
            items = _search(client, archive, path, {"includefield": fields, "offset": str(count)})
            before = sum(map(len, found.values()))
            for item in items:
                uid, instance = _value(item, _SERIES) or series or "", _value(item, _INSTANCE)
                found.setdefault(uid, {})[instance] = _value(item, _CLASS)
                modalities[uid] = _value(item, _MODALITY)
            count += len(items)
            if sum(map(len, found.values())) == before:  # some archives ignore the offset
                break
    return {uid: Contents(modalities[uid], instances) for uid, instances in found.items()}


def retrieve(
    archive: Archive, study: str, wanted: Mapping[str, Contents], add: Callable[[bytes], None]
) -> None:
    """Give the content of each file of the wanted series to `add`, encoded as the archive keeps it.

    Raises:
        ArchiveAwayError: it can't be reached, is out of order, or stops in the middle.
        ArchiveRefusedError: it says no, or answers with something else than DICOM.
    """
    headers = {"Accept": f"{_DICOM}; transfer-syntax=*"}
    with _client(archive) as client:
        for series in wanted:
            url = f"studies/{study}/series/{series}"
            with _answer(client, archive, "GET", url, headers=headers) as answer:
                try:
                    boundary = boundary_of(answer.headers.get("content-type", ""))
                    for content in parts_of(_chunks(answer, archive), boundary, MOST_FILE_BYTES):
                        add(content)
                except UnreadableError as error:
                    raise ArchiveRefusedError(
                        error.expected, got=f"{error.got} from {archive}", advice=error.advice
                    ) from error


def store(archive: Archive, files: Iterable[File]) -> Iterator[Answer]:
    """Send files, each in a request of its own, and give the archive's answer to each.

    Raises:
        ArchiveAwayError: it can't be reached, or is out of order; files already answered for are stored.
    """
    with _client(archive) as client:
        for file in files:
            yield _store(client, archive, file)


def _store(client: httpx.Client, archive: Archive, file: File) -> Answer:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f"{_DICOM}; boundary={boundary}",
        "Content-Length": str(len(head) + file.path.stat().st_size + len(tail)),
        "Accept": _JSON,
    }
    try:
        with _answer(
            client,
            archive,
            "POST",
            "studies",
            headers=headers,
            content=_body(head, file.path, tail),
            known=(409,),
        ) as answer:
            return _stored(_json(answer, archive), file)
    except ArchiveRefusedError as error:
        return Answer(file, refused=error.got)


def _body(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
    yield tail


def _stored(content: Any, file: File) -> Answer:
    """What the archive's answer says of one instance; that it is stored only where it is named so."""
    record = content[0] if isinstance(content, list) and content else content
    for item in _items(record, _FAILED):
        return Answer(file, refused=f"failure reason {_code(item, _REASON)}")
    for item in _items(record, _STORED):
        if _value(item, _UID) == file.identity.instance:
            code = _code(item, _WARNING)
            return Answer(file, warning=f"warning reason {code}" if code else "")
    return Answer(file, refused="an answer that doesn't name the instance")


@contextmanager
def _client(archive: Archive) -> Iterator[httpx.Client]:
    """A client that sends the secret to this archive alone: it follows no redirect."""
    import httpx

    headers, auth = {}, None
    if secret := archive.secret():
        if archive.user:
            auth = httpx.BasicAuth(archive.user, secret)
        else:
            headers["Authorization"] = f"Bearer {secret}"
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    # A proxy of the environment is no way to this machine.
    use_proxy = not is_loopback(urlsplit(archive.url).hostname or "")
    with httpx.Client(
        headers=headers,
        auth=auth,
        timeout=timeout,
        follow_redirects=False,
        trust_env=use_proxy,
        verify=trusted(),
    ) as client:
        yield client


@contextmanager
def _answer(
    client: httpx.Client,
    archive: Archive,
    method: str,
    path: str,
    known: tuple[int, ...] = (),
    **request: Any,
) -> Iterator[httpx.Response]:
    """The head of an answer whose code is 2xx or `known`; its body is read within the block."""
    import httpx

    try:
        with client.stream(method, f"{archive.url}/{path}", **request) as answer:
            if not answer.is_success and answer.status_code not in known:
                raise _refusal(archive, answer.status_code)
            yield answer
    except (httpx.TransportError, httpx.StreamError) as error:
        got, advice = why_none(error)
        raise ArchiveAwayError(f"an answer of {archive}", got=got, advice=advice) from error
    except (httpx.InvalidURL, httpx.DecodingError, UnicodeError) as error:
        raise ArchiveRefusedError(
            f"an answer of {archive}",
            got=f"nothing that HTTP knows ({type(error).__name__})",
            advice="Check the address.",
        ) from error


def _refusal(archive: Archive, code: int) -> ArchiveAwayError | ArchiveRefusedError:
    got = f"HTTP status {code}"
    if code >= 500 or code in _AWAY:
        return ArchiveAwayError(f"an answer of {archive}", got=got, advice="Try again later.")
    advice = "Ask the archive's administrator."
    if 300 <= code < 400:
        advice = "It wants to send medseg elsewhere: name the final address."
    elif code in (401, 403):
        advice = "Check the token, and what it allows."
    elif code == 404:
        advice = "Check the address, and whether the archive holds it."
    return ArchiveRefusedError(f"an answer of {archive}", got=got, advice=advice)


def _search(
    client: httpx.Client, archive: Archive, path: str, query: Mapping[str, str]
) -> list[dict[str, Any]]:
    with _answer(client, archive, "GET", path, params=query, headers={"Accept": _JSON}) as answer:
        if answer.status_code == 204:
            return []
        found = _json(answer, archive)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _no_json(archive)
    return found


def _json(answer: httpx.Response, archive: Archive) -> Any:
    """The body, read within a limit.

    Raises:
        ArchiveRefusedError: it is no JSON, or too long.
    """
    import json

    body = bytearray()
    for chunk in _chunks(answer, archive):
        body += chunk
        if len(body) > MOST_JSON_BYTES:
            raise _no_json(archive)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_json(archive) from error


def _chunks(answer: httpx.Response, archive: Archive) -> Iterator[bytes]:
    deadline = time.monotonic() + MOST_SECONDS
    for chunk in answer.iter_bytes(_CHUNK_BYTES):
        if time.monotonic() > deadline:
            raise ArchiveAwayError(
                f"an answer of {archive} within {MOST_SECONDS} s",
                got="a longer one",
                advice="Try again later.",
            )
        yield chunk


def _no_json(archive: Archive) -> ArchiveRefusedError:
    return ArchiveRefusedError(
        f"DICOM JSON from {archive}",
        got="something else",
        advice="Check that the address is that of the DICOMweb service.",
    )


def _items(record: Any, tag: str) -> list[Any]:
    """The items of a sequence in DICOM JSON."""
    element = record.get(tag) if isinstance(record, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _value(item: Any, tag: str) -> str:
    """The first value of an element in DICOM JSON, as text."""
    values = _items(item, tag)
    return str(values[0]) if values and isinstance(values[0], (str, int)) else ""


def _code(item: Any, tag: str) -> str:
    """A reason as the standard prints it, such as A900H."""
    text = _value(item, tag)
    return f"{int(text):04X}H" if text.isascii() and text.isdigit() else text and "without a code"
