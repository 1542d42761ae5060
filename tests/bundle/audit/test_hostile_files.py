"""Files of a bundle besides its configurations: weights, code, logging, archives, lists of large files."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hostile_bundle import (
    LOGGING,
    METADATA,
    Payload,
    object_array,
    pickled,
    slipping_zip,
    torch_archive,
    write_bundle,
)

from medseg.bundle.audit import audit_bundle
from medseg.errors import UsageError


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def found(folder, severity="refuse"):
    return [one for one in audit_bundle(folder).findings if one.severity == severity]


def only(folder, severity="refuse"):
    (finding,) = found(folder, severity)
    return finding


def old_format(canary):
    """As torch.save wrote files before its zip format, with a payload as the object."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, Payload(canary), [])
    return b"".join(pickle.dumps(part, protocol=2) for part in parts)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["models/model.pt", "models/cache.pkl", "docs/notes.bin"])
def test_a_pickle_is_disassembled(name, protocol, tmp_path, canary):
    findings = found(write_bundle(tmp_path / "evil", files={name: pickled(canary, protocol)}))
    assert {one.file for one in findings} == {name}
    assert {one.rule for one in findings} == {"pickle"}
    assert any("pathlib" in one.reason for one in findings)


@pytest.mark.parametrize(
    ("name", "make", "part"),
    [
        ("models/model.pt", torch_archive, "pathlib.Path"),
        ("models/model.pt", old_format, "pathlib.Path"),
        ("models/quality.npz", object_array, "an array of objects"),
        # Whatever its name says.
        ("docs/readme.txt", torch_archive, "pathlib.Path"),
        ("docs/readme.md", pickled, "pathlib.Path"),
        # The payload runs before the damage is reached.
        ("models/model.pt", lambda canary: pickled(canary)[:-2], "pathlib.Path"),
        # torch reads the pickle at the beginning, other programs the archive at the end.
        ("models/model.pt", lambda canary: pickled(canary) + torch_archive(canary), "behind other content"),
    ],
    ids=["zip", "old", "objects", "zip named txt", "pickle named md", "cut", "two in one"],
)
def test_weights_that_would_run(name, make, part, tmp_path, canary):
    findings = found(write_bundle(tmp_path / "evil", files={name: make(canary)}))
    assert findings
    assert {one.file for one in findings} == {name}
    assert any(part in one.reason for one in findings)


def saved(save, *arguments, **options):
    stream = io.BytesIO()
    save(*arguments, stream, **options) if save is torch.save else save(stream, *arguments)
    return stream.getvalue()


STATE = {
    "model": torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict(),
    "half": torch.zeros(2, dtype=torch.bfloat16),
    "epoch": 3,
    "rates": [0.1, None, True],
    "parameter": torch.nn.Parameter(torch.zeros(1)),
}


@pytest.mark.parametrize("is_zip", [True, False])
def test_real_weights_pass(is_zip, tmp_path):
    content = saved(torch.save, STATE, _use_new_zipfile_serialization=is_zip)
    assert torch.load(io.BytesIO(content), weights_only=True)["epoch"] == 3
    assert found(write_bundle(tmp_path / "sound", files={"models/model.pt": content})) == []


def test_arrays_of_numbers_pass(tmp_path):
    content = saved(np.savez, np.zeros(3), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]))
    assert found(write_bundle(tmp_path / "sound", files={"models/values.npz": content})) == []


def test_damaged_weights_are_warned_of(tmp_path):
    folder = write_bundle(tmp_path / "odd", files={"models/model.pt": b"weights"})
    assert [one.rule for one in found(folder, "warn")] == ["hash", "pickle"]
    assert found(folder) == []


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_told_and_refused_where_it_reaches_for_files(tmp_path):
    class Sound(torch.nn.Module):
        def forward(self, x):
            return x + 1

    class Reaching(torch.nn.Module):
        def forward(self, x):
            return x + torch.from_file("other", size=1)

    for module, refused in ((Sound(), 0), (Reaching(), 1)):
        stream = io.BytesIO()
        torch.jit.save(torch.jit.script(module), stream)
        folder = write_bundle(tmp_path / type(module).__name__, files={"models/model.ts": stream.getvalue()})
        assert "TorchScript" in {one.rule for one in found(folder, "warn")}
        findings = found(folder)
        assert len(findings) == refused
        assert all("from_file" in one.text for one in findings)


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(*fields):
    parts = ((number, value.encode() if isinstance(value, str) else value) for number, value in fields)
    return b"".join(varint(number << 3 | 2) + varint(len(value)) + value for number, value in parts)


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        (
            message((5, message((13, message((1, "location"), (2, "../../etc/passwd")))))),
            "outside of its folder",
        ),
        (message((1, message((4, "Run"), (7, "evil.ops")))), "evil.ops.Run"),
        (message((1, message((5, message((6, message((1, message((7, "evil")))))))))), "evil."),
        (b"\xff\xff", "no complete ONNX model"),
        (message((1, message((4, "Conv"), (7, ""))), (5, message((8, "w"), (9, b"\0\0\0\0")))), None),
    ],
    ids=["path", "operator", "operator in a branch", "damaged", "sound"],
)
def test_onnx(graph, part, tmp_path):
    findings = found(write_bundle(tmp_path / "bundle", files={"models/model.onnx": message((7, graph))}))
    assert bool(findings) == bool(part)
    assert all(part in one.reason for one in findings)


def test_safetensors(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    sound = struct.pack("<Q", len(header)) + header + b"\0" * 4
    assert found(write_bundle(tmp_path / "a", files={"models/model.safetensors": sound})) == []
    assert (
        only(write_bundle(tmp_path / "b", files={"models/model.safetensors": b"\xff" * 40})).rule == "weights"
    )


@pytest.mark.parametrize(
    "name", ["scripts/__init__.py", "evil.py", "models/fast.so", "cache/evil.cpython-311.pyc"]
)
def test_code_is_refused(name, tmp_path):
    assert only(write_bundle(tmp_path / "evil", files={name: "raise SystemExit"})).rule == "code"


def test_a_program_with_another_name_is_refused(tmp_path):
    assert only(write_bundle(tmp_path / "evil", files={"docs/notes": b"\x7fELF\x02"})).rule == "code"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # GHSA-wvpx-5qmp-46g3
        ("args=(sys.stdout,)", "args=(open('CANARY', 'w'),)"),
        ("args=(sys.stdout,)", "args=[x for x in [open('CANARY', 'w')]]"),
        ("class=StreamHandler", "class=__import__('pathlib').Path('CANARY').touch()"),
        ("class=StreamHandler", "class=eval"),
        ("class=StreamHandler", "class=handlers.HTTPHandler"),
        ("class=StreamHandler", "class=FileHandler\nkwargs={'filename': open('CANARY', 'w').name}"),
        ("class=StreamHandler", "class=%(own)s\nown=eval"),
        ("args=(sys.stdout,)", "args=('../../.bashrc', 'a')"),
        ("[loggers]", "[DEFAULT]\nargs=(open('CANARY', 'w'),)\n[loggers]"),
        ("format=%(message)s", "class=logging.os.system"),
    ],
)
def test_logging_conf(old, new, tmp_path, canary):
    text = LOGGING.replace(old, new.replace("CANARY", str(canary)))
    findings = found(write_bundle(tmp_path / "evil", files={"configs/logging.conf": text}))
    lines = text.splitlines()
    named = {lines[one.line - 1] for one in findings if one.line}
    evil = {
        line
        for line in new.replace("CANARY", str(canary)).splitlines()
        if line.startswith(("args", "class", "kw"))
    }
    assert named & evil


def test_a_sound_logging_conf_passes(tmp_path):
    assert found(write_bundle(tmp_path / "sound", files={"configs/logging.conf": LOGGING})) == []


def test_an_archive_whose_names_leave_it(tmp_path, canary):
    """GHSA-9rg3-9pvr-6p27."""
    finding = only(slipping_zip(tmp_path / "name.zip"))
    assert (finding.rule, "../../canary" in finding.text) == ("archive", True)


def test_an_archive_inside_of_the_bundle_whose_names_leave_it(tmp_path, canary):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("/etc/cron.d/evil", "")
    finding = only(write_bundle(tmp_path / "evil", files={"data/more.zip": stream.getvalue()}))
    assert (finding.rule, finding.text) == ("archive", "/etc/cron.d/evil")


def test_an_archive_is_read_without_being_unpacked(tmp_path, canary):
    folder = write_bundle(tmp_path / "evil", files={"models/model.pt": torch_archive(canary)})
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, f"evil/{path.relative_to(folder)}")
        archive.write(folder / "LICENSE", "evil/LICENSE")
    before = sorted(tmp_path.rglob("*"))
    inside, outside = audit_bundle(tmp_path / "evil.zip"), audit_bundle(folder)
    assert inside.findings == outside.findings
    assert inside.digest == outside.digest
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("entry", "severity", "part"),
    [
        (
            {"path": "../../evil.pt", "url": "https://a/b", "hash_val": "0" * 64, "hash_type": "sha256"},
            "refuse",
            "path",
        ),
        (
            {"path": "models/a.pt", "url": "http://a/b", "hash_val": "0" * 64, "hash_type": "sha256"},
            "refuse",
            "url",
        ),
        ({"path": "models/a.pt", "url": "https://a/b"}, "refuse", "url"),
        (
            {"path": "models/a.pt", "url": "https://a/b", "hash_val": "", "hash_type": ""},
            "refuse",
            "hash_val",
        ),
        (
            {"path": "models/a.pt", "url": "https://a/b", "hash_val": "0" * 32, "hash_type": "md5"},
            "warn",
            "hash_type",
        ),
    ],
    ids=["path", "http", "no hash", "empty hash", "md5"],
)
def test_large_files(entry, severity, part, tmp_path):
    """GHSA-x4pc-gj5h-3pq7 and GHSA-hhh4-h52m-fqh6."""
    text = "large_files:\n" + "".join(
        f"{'- ' if key == 'path' else '  '}{key}: '{value}'\n" for key, value in entry.items()
    )
    folder = write_bundle(tmp_path / "bundle", files={"large_files.yml": text})
    findings = [one for one in found(folder, severity) if one.rule == "large file"]
    assert [part in one.text for one in findings] == [True]


def test_weights_are_the_pinned_ones(tmp_path):
    content = saved(torch.save, STATE)
    pinned = "weights: $str(Path(@bundle_root) / 'models' / 'model.pt')\nweights_sha256: "
    other = write_bundle(tmp_path / "other", f"{pinned}{'0' * 64}\n", {"models/model.pt": content})
    assert (only(other).rule, only(other).file) == ("hash", "configs/inference.yaml")
    assert "weights_sha256" in only(other).text
    digest = only(other).reason.split()[-1]
    assert (
        audit_bundle(
            write_bundle(tmp_path / "own", f"{pinned}{digest}\n", {"models/model.pt": content})
        ).verdict
        == "pass"
    )
    without = only(write_bundle(tmp_path / "without", "", {"models/model.pt": content}), "warn")
    assert (without.rule, digest in without.text) == ("hash", True)


def test_licence_and_metadata(tmp_path):
    less = {key: value for key, value in METADATA.items() if key != "copyright"}
    folder = write_bundle(tmp_path / "bundle", files={"configs/metadata.json": json.dumps(less)})
    (folder / "LICENSE").unlink()
    assert [(one.rule, one.severity) for one in audit_bundle(folder).findings] == [
        ("licence", "warn"),
        ("metadata", "warn"),
    ]


def test_links_out_of_the_bundle(tmp_path):
    folder = write_bundle(tmp_path / "evil")
    (folder / "more.yaml").symlink_to("/etc/hostname")
    (folder / "scripts").symlink_to(tmp_path)
    assert [one.rule for one in found(folder)] == ["link", "link"]


def test_a_link_to_weights_is_read_as_they_are(tmp_path):
    folder = write_bundle(tmp_path / "sound")
    kept = tmp_path / "kept.pt"
    torch.save({"a": torch.zeros(2)}, kept)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "model.pt").symlink_to(kept)
    assert found(folder) == []
    assert "a link that leaves the bundle" in [one.reason for one in audit_bundle(folder).findings]
    kept.write_bytes(pickle.dumps(os.system, 2))
    assert "pickle" in [one.rule for one in found(folder)]


def test_a_socket_or_a_pipe_is_not_waited_for(tmp_path):
    folder = write_bundle(tmp_path / "evil")
    os.mkfifo(folder / "configs" / "more.yaml")
    assert only(folder).rule == "link"


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"PK"), lambda path: None]
)
def test_what_is_no_bundle(make, tmp_path):
    make(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"configs/metadata\.json"):
        audit_bundle(tmp_path / "nothing")
