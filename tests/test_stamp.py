"""The stamp of a result: one line, the same for what is read back, and nothing that names anybody."""

import json

import pytest
from stamped_results import PROVENANCE

from medseg.stamp import MOST_CHARACTERS, Stamp, new_stamp, one_digest, read_stamp_text


def test_a_stamp_tells_what_made_a_result():
    stamp = new_stamp({"task": "lung_ct", **PROVENANCE})
    assert read_stamp_text(stamp.text()) == stamp
    assert stamp.text().isascii()
    assert "\\" not in stamp.text()
    assert len(stamp.text().splitlines()) == 1
    assert (stamp.task, stamp.method, stamp.bundle_sha256) == ("lung_ct", "classical", "b" * 64)
    assert stamp.weights_sha256 == one_digest(PROVENANCE["weights_sha256"])
    assert "Zwetschgenknoedel" not in stamp.text()


def test_each_save_has_a_number_of_its_own():
    assert new_stamp({}).result != new_stamp({}).result
    assert not new_stamp({}).is_edited
    assert new_stamp({"review": [{"decision": "edit"}, {"decision": "accept"}]}).is_edited


def test_long_settings_become_a_digest():
    """DICOM's text has 1024 characters."""
    stamp = new_stamp({**PROVENANCE, "settings": {f"key_{n}": "ü" * 50 for n in range(20)}})
    assert len(stamp.text()) <= MOST_CHARACTERS
    assert list(stamp.settings) == ["sha256"]


def test_one_network_has_the_digest_of_its_file():
    assert one_digest("ab") == one_digest(["ab"]) != one_digest(["ab", "cd"])
    assert one_digest(None) == one_digest([]) == ""


@pytest.mark.parametrize(
    "text",
    [
        *(None, b"\xff", "", "{", "[]", "null", "5", "{}", '{"format": "medseg stamp 2"}'),
        json.dumps({"format": "medseg stamp 1"}),
        json.dumps({"format": "medseg stamp 1", "result": "../../etc"}),
        json.dumps({"format": "medseg stamp 1", "result": "0" * 32, "task": ["lung_ct"]}),
        json.dumps({"format": "medseg stamp 1", "result": "0" * 32, "versions": "1"}),
        "[" * 100_000,
    ],
    ids=lambda text: str(text)[:40],
)
def test_anything_else_is_no_stamp(text):
    assert read_stamp_text(text) is None


def test_what_a_later_version_adds_is_passed_over():
    text = json.dumps({"format": "medseg stamp 1", "result": "0" * 32, "colour": "red"})
    assert read_stamp_text(text) == Stamp("0" * 32)
