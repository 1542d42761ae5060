"""Digests of measurements.json: of its content, whatever its layout."""

import json

from medseg.reports.seal import broken_seals, digests_of_files, record_text, resealed, sealed

RECORD = {"task": "lung_ct", "measurements": {"a": {"value": 1.5, "unit": "ml"}}, "files": {}}


def test_a_seal_fits_its_record():
    record = sealed(RECORD)
    assert broken_seals(record) == []
    assert broken_seals(json.loads(record_text(record))) == []
    assert broken_seals(dict(reversed(record.items()))) == []
    assert sealed(record) == record


def test_a_change_is_told():
    record = sealed(RECORD)
    other = {**record, "measurements": {"a": {"value": 1.6, "unit": "ml"}}}
    assert broken_seals(other) == ["measurements", "record"]
    assert broken_seals({**record, "task": "other"}) == ["record"]
    assert broken_seals({**record, "digests": None}) == ["measurements", "record"]


def test_a_change_is_not_sealed_in():
    record = sealed(RECORD)
    assert broken_seals(resealed({**record, "review": 1}, record)) == []
    changed = {**record, "measurements": {}}
    assert broken_seals(resealed({**changed, "review": 1}, changed)) == ["measurements", "record"]
    assert "digests" not in resealed({"task": "old"}, {"task": "old"})


def test_digests_of_files(tmp_path):
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"x")
    assert list(digests_of_files(tmp_path.iterdir())) == ["a", "b"]
    assert digests_of_files(tmp_path.iterdir())["b"].startswith("e3b0c442")
