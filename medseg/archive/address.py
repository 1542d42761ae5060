"""Which archive is meant: an address on the command line, or a named record of a configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from medseg.errors import MedsegError, UsageError, did_you_mean

OWN_AE_TITLE = "MEDSEG"
FORMS = "https://HOST/PATH for DICOMweb, or dicom://AE_TITLE@HOST:PORT"
_KEYS = {
    "dimse": ("ae_title", "host", "port", "calling", "receive_port"),
    "dicomweb": ("url", "token_file", "user"),
}
_REQUIRED = {"dimse": ("ae_title", "host", "port"), "dicomweb": ("url",)}


@dataclass(frozen=True)
class Archive:
    """An archive, and how to speak to it.

    Attributes:
        kind: dicomweb (QIDO-RS, WADO-RS, STOW-RS) or dimse (C-FIND, C-GET or C-MOVE, C-STORE).
        url: of dicomweb: where /studies is appended.
        ae_title, host, port: of dimse: the archive's.
        calling: of dimse: medseg's own AE title.
        receive_port: of dimse: fetch by C-MOVE to `calling` at this port of this machine, as the archive has
            to know it; None fetches by C-GET, which needs no port.
        token_file: of dicomweb: a file with the bearer token, or with the password of `user`.
        user: of dicomweb: for HTTP Basic authentication.
        token: instead of token_file.
    """

    kind: str
    url: str = ""
    ae_title: str = ""
    host: str = ""
    port: int = 0
    calling: str = OWN_AE_TITLE
    receive_port: int | None = None
    token_file: Path | None = None
    user: str | None = None
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url if self.kind == "dicomweb" else f"{self.ae_title} at {self.host}:{self.port}"

    def secret(self) -> str | None:
        """The token or password, read anew each time, so that it can be changed while a node runs.

        Raises:
            MedsegError: the file can't be read or is empty.
        """
        if self.token_file is None:
            return self.token
        try:
            text = self.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text or not text.isascii() or not text.isprintable():
            raise MedsegError(
                "a file with one token or password in ASCII",
                got=f"{self.token_file}, which is missing, empty or something else",
                advice="Write the token into it, readable by medseg alone.",
            )
        return text


def archive_at(address: str, *, token: str | None = None, **settings: Any) -> Archive:
    """The archive at an address such as https://pacs.example/dicom-web or dicom://ORTHANC@pacs.example:104.

    Args:
        address: in one of these forms.
        token: a secret from the environment.
        settings: further attributes of an Archive.

    Raises:
        UsageError: the address has another form, or holds a password.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _no_address(address) from error
    if parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment:
        if parts.username is not None:
            raise UsageError(
                "an address without a name or a password",
                got=f"one with both at {parts.hostname}",
                advice="Other users of the machine can read a command line: give the secret by a file.",
            )
        return Archive("dicomweb", url=address.rstrip("/"), token=token, **settings)
    if parts.scheme == "dicom" and parts.username and parts.hostname and port and not parts.path.strip("/"):
        title = unquote(parts.username)
        return _checked(Archive("dimse", ae_title=title, host=parts.hostname, port=port, **settings))
    raise _no_address(address)


def archives_from(records: Any, folder: Path, calling: str | None = None) -> dict[str, Archive]:
    """The archives of a configuration by their names.

    Args:
        records: the mapping `archives` of a configuration: name to kind and settings.
        folder: from where a relative token_file starts.
        calling: medseg's own AE title, for those that don't say it.

    Raises:
        UsageError: a key is misspelt or missing, or a value has the wrong type.
    """
    if not isinstance(records, Mapping):
        raise UsageError("`archives` as a mapping of names", got="something else", advice="Repair it.")
    found = {str(name): _archive(str(name), record, folder) for name, record in records.items()}
    for name, record in records.items():
        if calling and "calling" not in record and record["kind"] == "dimse":
            found[str(name)] = _checked(replace(found[str(name)], calling=calling))
    return found


def unencrypted(archive: Archive) -> str | None:
    """A warning where a secret would cross a network in clear text."""
    parts = urlsplit(archive.url)
    if parts.scheme != "http" or archive.secret() is None or is_loopback(parts.hostname or ""):
        return None
    return f"{archive.url}: the token is sent unencrypted; use https"


def _archive(name: str, record: Any, folder: Path) -> Archive:
    if not isinstance(record, Mapping) or record.get("kind") not in _KEYS:
        raise UsageError(
            f"`kind: dimse` or `kind: dicomweb` in archive {name}", got="none of them", advice="Add it."
        )
    kind = record["kind"]
    for key in record:
        if key != "kind" and key not in _KEYS[kind]:
            raise UsageError(
                f"a key of an archive of kind {kind}",
                got=f"{key} in archive {name}",
                advice=did_you_mean(str(key), ("kind", *_KEYS[kind])),
            )
    for key in _REQUIRED[kind]:
        if key not in record:
            raise UsageError(f"`{key}` in archive {name}", got="no such key", advice="Add it.")
    settings = {key: value for key, value in record.items() if value is not None}
    _require_types(name, settings)
    if "token_file" in settings:
        settings["token_file"] = folder / settings["token_file"]
    if kind == "dicomweb":
        url = settings.pop("url")
        found = archive_at(url, **{key: value for key, value in settings.items() if key != "kind"})
        if found.kind != "dicomweb":
            raise _no_address(url)
        return found
    return _checked(Archive(**settings))


def _require_types(name: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        wanted = int if key.endswith("port") else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UsageError(
                f"{'a number' if wanted is int else 'a text'} as `{key}` of archive {name}",
                got=f"a value of type {type(value).__name__}",
                advice="Repair it.",
            )


def _checked(archive: Archive) -> Archive:
    """Raises UsageError for AE titles and ports that DICOM doesn't have."""
    for title in (archive.ae_title, archive.calling):
        if (
            not 0 < len(title.strip()) <= 16
            or not title.isascii()
            or not title.isprintable()
            or "\\" in title
        ):
            raise UsageError(
                "an AE title of 1 to 16 ASCII characters",
                got=repr(title),
                advice="Ask the archive's administrator.",
            )
    for port in (archive.port, archive.receive_port):
        if port is not None and not 0 < port < 65536:
            raise UsageError("a port from 1 to 65535", got=str(port), advice="Repair it.")
    return archive


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_address(address: str) -> UsageError:
    # An address that is misspelt may hold a password, so it isn't quoted.
    scheme = address.partition("://")[0] if "://" in address else ""
    known = scheme if scheme in ("http", "https", "dicom") else "none of these"
    return UsageError(
        f"the address of an archive: {FORMS}",
        got=f"another form ({known})",
        advice="Write it in one of these forms.",
    )
