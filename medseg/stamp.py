"""The stamp inside each file of a result: what made it, from what, and which files belong together.

A stamp is one line of JSON in ASCII without a backslash: other letters are written as %C3%BC. It is the same
in all files that one `save` writes. It holds no name of a file or a person: the image is known by its hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

KEY = "medseg_stamp"  # the name of the entry in formats that have named entries
FORMAT = "medseg stamp 1"
_UNCHANGED = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"  # besides letters and digits; not the quote, \ and %
MOST_CHARACTERS = 1000  # DICOM's short text (ST), the tightest of the places, holds 1024


@dataclass(frozen=True)
class Stamp:
    """What one save of one result writes into each of its files.

    Attributes:
        result: 32 hexadecimal digits that no other save has.
        written: when, in UTC (ISO 8601).
        task, method, mode: their names; "" where unknown, as all texts here.
        bundle_version: of the bundle's metadata.json.
        bundle_sha256: of the bundle's configuration; see medseg.bundle.configs_sha256.
        weights_sha256: of the file of weights; of several networks, of their digests as lines; "" for a
            method without weights.
        input_sha256: of the image, as in the result's provenance.
        segmented: when the automatic mask was made.
        is_edited: whether a person has corrected the mask.
        settings: what a user has changed; the SHA-256 alone where it would be too long.
        versions: of medseg, monai and torch.
    """

    result: str
    written: str = ""
    task: str = ""
    method: str = ""
    mode: str = ""
    bundle_version: str = ""
    bundle_sha256: str = ""
    weights_sha256: str = ""
    input_sha256: str = ""
    segmented: str = ""
    is_edited: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The stamp as one line of at most MOST_CHARACTERS, without what is unknown."""
        return json.dumps(self.entry(), separators=(",", ":"))

    def entry(self) -> dict[str, Any]:
        """The same, as an entry of a JSON file."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value}
        return {"format": FORMAT, **known}


def new_stamp(provenance: Mapping[str, Any]) -> Stamp:
    """The stamp of a result that is saved now.

    Args:
        provenance: of the result; see medseg.outputs.SegmentationResult.
    """

    def known(name: str) -> str:
        return _plain(provenance.get(name) or "")

    reviews = provenance.get("review") or []
    stamp = Stamp(
        result=uuid.uuid4().hex,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        task=known("task"),
        method=known("method"),
        mode=known("mode"),
        bundle_version=known("bundle_version"),
        bundle_sha256=known("bundle_sha256"),
        weights_sha256=one_digest(provenance.get("weights_sha256")),
        input_sha256=known("input_sha256"),
        segmented=known("date"),
        is_edited=any(review.get("decision") == "edit" for review in reviews),
        settings=_texts(provenance.get("settings")),
        versions=_texts(provenance.get("versions")),
    )
    if len(stamp.text()) <= MOST_CHARACTERS:
        return stamp
    settings = json.dumps(stamp.settings, sort_keys=True)
    return dataclasses.replace(stamp, settings={"sha256": hashlib.sha256(settings.encode()).hexdigest()})


def read_stamp_text(text: Any) -> Stamp | None:
    """The stamp in a text that `Stamp.text` gave; None for anything else."""
    try:
        content = json.loads(text)
        if content.pop("format") != FORMAT or not re.fullmatch("[0-9a-f]{32}", content["result"]):
            return None
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError):
        return None
    kinds = {each.name: type(getattr(Stamp(""), each.name)) for each in dataclasses.fields(Stamp)}
    found = {name: value for name, value in content.items() if name in kinds}
    if not all(isinstance(value, kinds[name]) for name, value in found.items()):
        return None
    return Stamp(**found)


def one_digest(digests: Any) -> str:
    """One digest for the files of weights of a method: theirs, of several that of their lines, "" of none."""
    digests = [digests] if isinstance(digests, str) else list(digests or [])
    if len(digests) < 2:
        return str(digests[0]) if digests else ""
    return hashlib.sha256("\n".join(map(str, digests)).encode()).hexdigest()


def _texts(entries: Any) -> dict[str, str]:
    return (
        {_plain(key): _plain(value) for key, value in entries.items()} if isinstance(entries, Mapping) else {}
    )


def _plain(value: Any) -> str:
    """A value as text without what would be escaped: a backslash separates values in DICOM."""
    return quote(str(value), safe=_UNCHANGED, errors="replace")
