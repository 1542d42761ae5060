"""The page of similar cases: pictures, volumes, and images that are no longer there."""

import re

import numpy as np
import pytest
from PIL import Image

from medseg.reports.similarity import Card, draw_case, write_similarity_page
from medseg.volume import Volume, Window


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(np.arange(6000, dtype=np.uint8).reshape(60, 100)).save(path)
    return path


def page(tmp_path, query, *neighbours, **more):
    path = tmp_path / "report.html"
    write_similarity_page(
        path, query=query, neighbours=neighbours, how=["By texture."], notes=["Left out."], **more
    )
    return path.read_text()


def test_it_shows_the_query_and_its_neighbours(tmp_path, picture):
    near = Card("near", picture, 0.1234, (("Data set", "busi"), ("Pathology", "benign")))
    text = page(tmp_path, Card("mine", picture), near, Card("far", picture, 1.5))
    assert text.count("data:image/jpeg") == 3
    assert "1. near</b>, distance 0.123" in text
    assert "2. far</b>, distance 1.500" in text
    assert "<dt>Pathology</dt><dd>benign</dd>" in text
    assert "2 nearest cases" in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)  # it stands alone


def test_texts_are_escaped(tmp_path, picture):
    text = page(tmp_path, Card("<script>", picture), Card("a", picture, 0.1, (("x", "<b>y"),)))
    assert "<script>" not in text
    assert "&lt;b&gt;y" in text


def test_an_image_that_is_gone_is_told_in_its_place(tmp_path, picture):
    text = page(tmp_path, Card("mine", picture), Card("gone", tmp_path / "gone.png", 0.2))
    assert "gone.png can&#39;t be read here" in text
    assert str(tmp_path) not in text


def test_a_volume_is_three_slices():
    array = np.zeros((1, 40, 30, 20), np.int16)
    array[0, :20] = 1000
    shown = draw_case(Volume(array, np.diag([1.0, 1.0, 2.0, 1.0])), Window("w", 500, 1000))
    assert shown.dtype == np.uint8
    assert shown.ndim == 3
    assert shown.shape[2] == 3
    assert 0.2 < (shown == 255).mean() < 0.7
    assert shown.shape[1] > 2 * shown.shape[0]
