"""Where the images of saved results lie."""

import hashlib
import json

import pytest

from medseg.errors import UnreadableError, UnsuitableError
from medseg.sources import SOURCES, remember, source_of


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


def test_source_of_no_result(tmp_path):
    with pytest.raises(UnreadableError, match="measurements"):
        source_of(tmp_path)
