"""Documents that are bombs or not what they seem, and the lines of what they hold."""

import json

import pytest
from hostile_bundle import METADATA, write_bundle

from medseg.bundle.audit import audit_bundle
from medseg.bundle.audit.documents import MOST_BYTES, distinct, read_document

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("a.yaml", LAUGHS, "bomb"),
        ("a.yaml", "a: &a [*a]\n", "bomb"),
        ("a.yaml", "[" * 5000 + "]" * 5000, "bomb"),
        ("a.json", "[" * 5000 + "]" * 5000, "bomb"),
        ("a.json", "[" * 500_000, "bomb"),
        ("a.yaml", "a: 1\na: 2\n", "duplicate key"),
        ("a.json", '{"a": 1,\n "a": 2}', "duplicate key"),
        ("a.yaml", "a: !!python/name:os.system\n", "tag"),
        ("a.yaml", "a: !!python/object/new:os.system [a]\n", "tag"),
        ("a.yaml", "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system\n", "tag"),
        ("a.yaml", "a: !!binary aGVsbG8=\n", "tag"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "syntax"),
        ("a.yaml", "a: [1\n", "syntax"),
        ("a.yaml", "a: *b\n", "syntax"),
        ("a.yaml", "[a]: 1\n", "syntax"),
        ("a.json", "{'a': 1}", "syntax"),
        ("a.yaml", "#" * (MOST_BYTES + 1), "size"),
    ],
    ids=str,
)
def test_what_can_not_be_read_is_refused(name, text, rule):
    assert [one.rule for one in read_document(name, text.encode()).findings] == [rule]


@pytest.mark.parametrize(
    "more",
    [
        f"x: '@{'::' * 1_000_000}'\n",
        f"x: ${'a+' * 1_000_000}1\n",
        f"x: ${'a+' * 4000}1\n",
        f"x: ${'(' * 4000}1{')' * 4000}\n",
        f"x: [{','.join(['a'] * 100_000)}]\n",
    ],
    ids=["reference", "sum", "deep sum", "brackets", "values"],
)
def test_long_and_deep_values_are_refused_at_once(more, tmp_path):
    assert audit_bundle(write_bundle(tmp_path / "evil", more)).verdict == "refuse"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00\x01\x02", b"a: \x80"])
def test_bytes_that_are_no_text(content):
    assert len(read_document("a.yaml", content).findings) == 1


def test_aliases_are_followed_where_they_are_few(tmp_path):
    more = "b: &b {c: $open('x')}\nd: *b\n"
    findings = audit_bundle(write_bundle(tmp_path / "evil", more)).findings
    assert {one.line for one in findings} == {14}


def test_lines_of_yaml_and_json():
    yaml = read_document("a.yaml", b"a:\n  - 1\n  - >-\n    $x\n    y\nb: c\n")
    json_ = read_document("a.json", b'{"a": [1,\n "\\u0024x"],\n "b":\n  "c"}')
    assert {node.text: node.line for node in distinct(yaml.root) if node.text} == {
        "a": 1,
        "1": 2,
        "$x y": 3,
        "b": 6,
        "c": 6,
    }
    assert {node.text: node.line for node in distinct(json_.root) if node.text} == {
        "a": 1,
        "1": 1,
        "$x": 2,
        "b": 3,
        "c": 4,
    }


def test_metadata_is_part_of_the_configuration(tmp_path):
    """MONAI merges it as _meta_, and evaluates what reads as an expression."""
    text = json.dumps({**METADATA, "note": "$open('x')", "unit": "%"}, indent=1)
    findings = audit_bundle(write_bundle(tmp_path / "evil", files={"configs/metadata.json": text})).findings
    lines = text.splitlines()
    assert {lines[one.line - 1].strip() for one in findings} == {'"note": "$open(\'x\')",', '"unit": "%"'}


@pytest.mark.parametrize(
    ("more", "severity", "line"),
    [
        ("x: /data/set\n", "warn", 14),
        ("x: ../../other\n", "warn", 14),
        ("x: $Path('/data') / 'a'\n", "warn", 14),
        ("x: https://example.org/a.pt\n", "warn", 14),
        ("output_dir: /etc/cron.d\n", "refuse", 14),
        ("output_dir: ~/.ssh\n", "refuse", 14),
        ("x: '%../other.yaml::x'\n", "refuse", 14),
        ("x: '%configs/train.yaml::x'\n", "refuse", 14),
        ("x: '%a'\n", None, None),
        ("x: {_target_: PersistentDataset, weights_only: false}\n", "refuse", 14),
        ("x: {_target_: PersistentDataset, weights_only: '@a'}\n", "refuse", 14),
        ("x: {_target_: PersistentDataset, weights_only: []}\n", "refuse", 14),
        ("x: {_target_: PersistentDataset, weights_only: !!null true}\n", "refuse", 14),
        ("x: {_target_: PersistentDataset, weights_only: true}\n", None, None),
        ("x: {_target_: PersistentDataset}\nx::weights_only: {}\n", "refuse", 15),
        ("x: {_target_: NumpyReader, allow_pickle: true}\n", "refuse", 14),
        ("x: {_target_: NumpyReader, allow_pickle: !!str false}\n", "refuse", 14),
        ("x: {_target_: NumpyReader, allow_pickle: false}\n", None, None),
        ("x: {_target_: NumpyReader}\nx#allow_pickle#0: false\n", "refuse", 15),
        ("x: '% imports'\n", "refuse", 14),
        ("x: {_target_: ignite.metrics.accuracy.torch.nn.Linear}\n", "refuse", 14),
        ("x: {_target_: medseg.transforms.__dict__}\n", "refuse", 14),
        ("x: {_target_: LoadImage, reader: [NibabelReader, os.system]}\n", "refuse", 14),
        ("x: {_target_: LoadImage, reader: '@a'}\n", "refuse", 14),
        ("x: {_target_: LoadImage, reader: NibabelReader}\n", None, None),
        ("x: {_target_: LoadImage, reader: {_target_: NumpyReader, npz_keys: a}}\n", None, None),
        ("x: {_target_: LoadImage, reader: itkreader}\n", None, None),
        ("x: {_target_: {_target_: UNet}}\n", "refuse", 14),
        ("x: {_target_: [UNet]}\n", "refuse", 14),
        ("x: {_target_: LoadImage, _mode_: callable}\n", "refuse", 14),
        ("x: {_target_: medseg.methods.regions.body, _mode_: callable}\n", None, None),
        ("x: {_target_: medseg.transforms.FindFieldOfView}\n", "warn", 14),
        ("x: {_target_: medseg.transforms.os}\n", "warn", 14),
        ("x: {_target_: medseg.inference.devices.torch}\n", "refuse", 14),
        ("x: {_target_: medseg.transforms.geometry}\n", "refuse", 14),
        ("x: os.system\n", "refuse", 14),
        ("x:\n  y: 1\n  _target_: os.system\n", "refuse", 16),
        ("x: >-\n  $[1,\n  2,\n  open('a')]\n", "refuse", 17),
        ("$x: 1\n", "refuse", 14),
    ],
)  # fmt: skip
def test_values(more, severity, line, tmp_path):
    findings = [
        one for one in audit_bundle(write_bundle(tmp_path / "bundle", more)).findings if one.rule != "hash"
    ]
    assert [(one.severity, one.line) for one in findings][:1] == ([(severity, line)] if severity else [])
