"""Where the images of saved results lie."""

import hashlib
import json

import pytest

from medseg import sources
from medseg.errors import UnreadableError, UnsuitableError
from medseg.sources import SOURCES, formats_asked_for, remember, source_finder, source_of


def result_of(folder, name, content):
    case = folder / name
    case.mkdir(parents=True)
    digest = hashlib.sha256(content).hexdigest()
    (case / "measurements.json").write_text(json.dumps({"provenance": {"input_sha256": digest}}))
    return case


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def test_source_of_a_remembered_image(tmp_path, picture):
    case = result_of(tmp_path / "out", "a", b"pixels")
    remember(tmp_path / "out", "a", "elsewhere.png")
    remember(tmp_path / "out", "a", picture)
    assert source_of(case) == picture


def test_source_of_a_cut_line(tmp_path, picture):
    case = result_of(tmp_path / "out", "a", b"pixels")
    remember(tmp_path / "out", "a", picture)
    with (tmp_path / "out" / SOURCES).open("a") as file:
        file.write('{"case": "a", "sou')
    assert source_of(case) == picture


def test_source_of_moved_images(tmp_path, picture):
    case = result_of(tmp_path / "out", "a", b"pixels")
    moved = picture.rename(picture.with_name("renamed.png"))
    with pytest.raises(UnsuitableError, match="--images"):
        source_of(case)
    assert source_of(case, [moved.parent]) == moved


def test_source_of_a_changed_image(tmp_path, picture):
    case = result_of(tmp_path / "out", "a", b"pixels")
    remember(tmp_path / "out", "a", picture)
    picture.write_bytes(b"others")
    with pytest.raises(UnsuitableError, match="SHA-256"):
        source_of(case)


def test_source_of_the_files_of_a_series(tmp_path):
    case = result_of(tmp_path / "out", "series", b"")
    files = tuple(tmp_path / f"{number}.dcm" for number in range(2))
    for file in files:
        file.write_bytes(b"slice")
    remember(tmp_path / "out", "series", files)
    assert source_of(case) == files


def test_many_sources_are_read_once(tmp_path, monkeypatch):
    """Each of many images that have moved and have other names."""
    images = tmp_path / "moved"
    images.mkdir()
    cases = [result_of(tmp_path / "out", f"case {n}", b"%d" % n) for n in range(5)]
    for n in range(5):
        (images / f"image {n}.png").write_bytes(b"%d" % n)
    reads = []
    digest = sources._sha256
    monkeypatch.setattr(sources, "_sha256", lambda path: reads.append(path) or digest(path))
    find = source_finder([images])
    assert [find(case).name for case in cases] == [f"image {n}.png" for n in range(5)]
    assert len(reads) == 5


def test_formats_asked_for(tmp_path, picture):
    case = result_of(tmp_path / "out", "a", b"pixels")
    for noted, known in ((None, None), (["dicom-seg"], ["dicom-seg"]), ((), [])):
        remember(tmp_path / "out", "a", picture, noted)
        assert formats_asked_for(case) == known


def test_source_of_no_result(tmp_path):
    with pytest.raises(UnreadableError, match="measurements"):
        source_of(tmp_path)
