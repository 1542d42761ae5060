"""Hashing by random projections: what its bits mean, and what it misses."""

import numpy as np
import pytest

from medseg.errors import DataError, UsageError
from medseg.similarity import hashing
from medseg.similarity.hashing import candidate_count, candidates, hashed, read_hashes, write_hashes


def units(count, length=64, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_differing_bits_estimate_the_angle():
    """Charikar 2002: each bit differs with the probability angle / pi."""
    base, other = units(2)
    other -= (other @ base) * base
    other /= np.linalg.norm(other)
    angles = np.linspace(0, np.pi, 7)
    rows = np.stack([np.cos(a) * base + np.sin(a) * other for a in angles]).astype(np.float32)
    distances, numbers = hashed(rows, 512).search(base[None], len(rows))
    assert numbers[0].tolist() == list(range(7))
    assert distances[0] / 512 == pytest.approx(angles / np.pi, abs=0.07)


def test_neighbours_of_clustered_vectors_are_found():
    centres = units(100)
    rows = np.repeat(centres, 20, axis=0) + 0.1 * units(2000, seed=1)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    hashes = hashed(rows)
    recall = []
    for query in range(0, 2000, 50):
        wanted = set(np.argsort(-(rows @ rows[query]))[:10])
        recall.append(len(wanted & set(candidates(hashes, rows[query], 10))) / 10)
    assert np.mean(recall) > 0.95


def test_codes_are_read_as_they_were_written(tmp_path):
    rows = units(300)
    write_hashes(rows, tmp_path / "hashes.faiss")
    found = read_hashes(tmp_path / "hashes.faiss", 300)
    assert np.array_equal(candidates(found, rows[5], 3), candidates(hashed(rows), rows[5], 3))


def test_there_are_never_more_candidates_than_cases():
    assert candidate_count(5, 10) == 5
    assert candidate_count(10_000, 10) >= 100
    assert candidate_count(10_000, 500) >= 5000
    assert sorted(candidates(hashed(units(5)), units(5)[0], 10)) == [0, 1, 2, 3, 4]


def test_what_can_not_be_read(tmp_path, monkeypatch):
    write_hashes(units(5), tmp_path / "hashes.faiss")
    with pytest.raises(DataError, match="5 codes for 6 cases"):
        read_hashes(tmp_path / "hashes.faiss", 6)
    (tmp_path / "hashes.faiss").write_bytes(b"IxHe")
    with pytest.raises(DataError, match=r"that faiss can't read.*--exact"):
        read_hashes(tmp_path / "hashes.faiss", 5)
    with pytest.raises(UsageError, match="an index with hashes"):
        read_hashes(None, 5)
    monkeypatch.setattr(hashing, "is_installed", lambda: False)
    with pytest.raises(UsageError, match=r"pip install 'medseg\[similarity\]'.*--exact"):
        read_hashes(tmp_path / "hashes.faiss", 5)
