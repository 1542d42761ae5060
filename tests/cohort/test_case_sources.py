"""The cases of a cohort: found as `medseg segment` finds them, named alike, and none forgotten."""

import json

import numpy as np
import pytest
from PIL import Image

from medseg.cohort.sources import find_cases, part_of
from medseg.errors import UnreadableError, UsageError


def pictures(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / name)
    return folder


def table(tmp_path, text):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return str(tmp_path / "list.csv")


def names(rows):
    return [row.case for row in rows]


def test_a_folder_and_a_pattern(tmp_path):
    pictures(tmp_path / "one", "b.png", "a.png")
    pictures(tmp_path / "two", "a.png", "c.png")
    rows = find_cases([str(tmp_path / "one"), str(tmp_path / "two" / "*.png")])
    assert names(rows) == ["a", "a-2", "b", "c"]
    assert rows[0].source == (str(tmp_path / "one" / "a.png"),)


def test_an_image_that_is_named_twice_is_one_case(tmp_path):
    pictures(tmp_path, "a.png")
    assert names(find_cases([str(tmp_path), str(tmp_path / "a.png")])) == ["a"]


def test_a_source_without_images_is_a_case_that_will_be_refused(tmp_path):
    pictures(tmp_path / "full", "a.png")
    (tmp_path / "empty").mkdir()
    assert names(find_cases([str(tmp_path / "full"), str(tmp_path / "empty")])) == ["a", "empty"]


def test_only_sources_without_images(tmp_path):
    with pytest.raises(UnreadableError, match="image files"):
        find_cases([str(tmp_path)])


@pytest.mark.parametrize(
    ("source", "advice"), [("chase_db", "Did you mean chase_db1"), ("away/a.png", "Check the path")]
)
def test_a_source_that_does_not_exist(source, advice):
    with pytest.raises(UsageError, match=advice):
        find_cases([source])


def test_a_table(tmp_path):
    pictures(tmp_path / "images", "a.png", "b.png")
    text = (
        "\ufeffpath,subject,case,pixel_spacing_mm\n"
        "images/b.png,s2,second,0.25\n\nimages/a.png,s1,,\nmissing.png,,,\n"
    )
    rows = find_cases([table(tmp_path, text)])
    assert names(rows) == ["a", "missing", "second"]
    assert (rows[2].subject, rows[2].pixel_spacing_mm) == ("s2", 0.25)
    assert rows[0].pixel_spacing_mm is None
    assert rows[2].source == (str(tmp_path / "images" / "b.png"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,subjekt\na.png,1\n", "'subjekt'. Did you mean subject"),
        ("case\na\n", "one column path"),
        ("path,path\na.png,b.png\n", "path twice"),
        ("path\na.png,b.png\n", "more values than columns"),
        ("path,case\n,a\n", "line 2"),
        ("path,case\na.png,../b\n", r"'\.\./b'"),
        ("path,pixel_spacing_mm\na.png,-1\n", "positive number"),
        ("path,pixel_spacing_mm\na.png,wide\n", "got wide"),
        ("path\na.png\n./a.png\n", "line 2, and list.csv, line 3"),
        ("path,case\na.png,x\nb.png,X\n", "x for two"),
        ("path,case\na.png,Cohort.html\n", "Cohort.html for .*a.png"),
        ("path,case\na.png,x\x07\n", r"x.x07"),
        ("path;case\na.png;x\n", "by commas"),
        ("", "one column path"),
        ("path\n", "one case or more"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        find_cases([table(tmp_path, text)])


def test_an_image_with_the_name_of_the_ledger(tmp_path):
    pictures(tmp_path, "cohort.sqlite.png")
    with pytest.raises(UsageError, match=r"cohort\.sqlite for .*Rename the image"):
        find_cases([str(tmp_path)])


def test_a_table_of_another_encoding(tmp_path):
    (tmp_path / "list.csv").write_bytes("path\nbrüste.png\n".encode("utf-16"))
    with pytest.raises(UsageError, match="a CSV file in UTF-8"):
        find_cases([str(tmp_path / "list.csv")])


def test_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    pictures(tmp_path / "images", "a.png", "b.png")
    about = dict.fromkeys(("description", "licence", "publisher", "citation", "urls"), "x")
    items = {"training": [{"image": "images/a.png", "subject": "s1"}], "validation": []}
    content = {
        "name": "own",
        "labels": {"0": "background"},
        **about,
        **items,
        "test": [{"image": "images/b.png"}],
    }
    (tmp_path / "own.json").write_text(json.dumps(content))
    rows = find_cases([str(tmp_path / "own.json")])
    assert [(row.case, row.subject) for row in rows] == [("a", "s1"), ("b", "")]


def test_parts_are_disjoint_and_complete(tmp_path):
    rows = find_cases([str(pictures(tmp_path, *(f"{number}.png" for number in range(11))))])
    parts = [part_of(rows, (number, 4)) for number in (1, 2, 3, 4)]
    assert sorted(name for part in parts for name in names(part)) == names(rows)
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert part_of(rows, None) == rows
