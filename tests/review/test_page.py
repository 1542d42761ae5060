"""The review page as files: which cases it lists, what it holds, what stays when it is written again."""

import base64
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from review_results import picture_case, volume_case

from medseg.errors import MedsegError, UsageError
from medseg.io import read_mask, read_volume
from medseg.review.cases import find_cases
from medseg.review.page import write_review

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])


@pytest.fixture
def results(tmp_path):
    """A volume and a picture."""
    generator = np.random.default_rng(0)
    out, images = tmp_path / "out", tmp_path / "images"
    values = generator.integers(-1000, 400, (6, 5, 4)).astype(np.int16)
    mask = generator.integers(0, 3, (6, 5, 4)).astype(np.uint8)
    volume_case(out, images, "scan", values, mask, AFFINE)
    picture = generator.integers(0, 255, (12, 17), np.uint8)
    picture_case(out, images, "breast", picture, (picture > 99).astype(np.uint8), warnings=["<b>odd</b>"])
    return out


def entries(page):
    """The list of cases by name, in their order."""
    text = (page.parent / "cases.js").read_text()
    content = json.loads(text.removeprefix("medsegReview.begin(").removesuffix(");\n"))
    return {case["name"]: case for case in content["cases"]}


def part(page, entry, number):
    text = (page.parent / "pieces" / f"{entry['piece']}-{number}.js").read_text()
    return json.loads("[" + text.removeprefix("medsegReview.part(").removesuffix(");\n") + "]")[2]


def test_all_cases_the_odd_one_first(results):
    cases = entries(write_review(results))
    assert list(cases) == ["breast", "scan"]
    assert cases["breast"]["kind"] == "picture"
    assert cases["scan"]["kind"] == "volume"
    assert [window["name"] for window in cases["scan"]["windows"]] == ["Lung window", "Mediastinum", "Bone"]
    assert [label["name"] for label in cases["scan"]["labels"]] == ["Left lung", "Right lung"]
    assert cases["scan"]["report"] == "../scan/report.html"


def test_voxels_are_those_of_the_files(results):
    page = write_review(results)
    entry = entries(page)["scan"]
    facts = part(page, entry, 0)
    mask = zlib.decompress(base64.b64decode(facts["mask"]))
    image = zlib.decompress(base64.b64decode(part(page, entry, 1)))
    case = next(case for case in find_cases(results) if case.name == "scan")
    assert np.frombuffer(mask, np.uint8).reshape((6, 5, 4), order="F").tolist() == (
        read_mask(case.mask, case.labels).array.tolist()
    )
    values = read_volume(results.parent / "images" / "scan.nii.gz").array[0]
    assert np.array_equal(np.frombuffer(image, "<i2").reshape((6, 5, 4), order="F"), values)


def test_written_again_it_reads_no_image_and_keeps_no_old_piece(results):
    page = write_review(results)
    before = {path.name: path.stat().st_mtime_ns for path in (page.parent / "pieces").iterdir()}
    for image in (results.parent / "images").iterdir():
        image.unlink()
    assert entries(write_review(results))["scan"]["problem"] == ""
    assert before == {path.name: path.stat().st_mtime_ns for path in (page.parent / "pieces").iterdir()}
    for file in (results / "scan").iterdir():
        file.unlink()
    write_review(results)
    left = {path.name for path in (page.parent / "pieces").iterdir()}
    assert left < set(before)
    assert not [name for name in left if name.startswith(entries(page).get("scan", {"piece": "-"})["piece"])]


def test_a_case_without_its_image_is_listed_with_the_overlay(results):
    (results.parent / "images" / "scan.nii.gz").unlink()
    page = write_review(results)
    scan = entries(page)["scan"]
    assert "expected the image that scan was segmented from" in scan["problem"]
    assert (page.parent / scan["overlay"]).is_file()
    assert scan["piece"] == ""
    assert scan["mask"]["name"] == "segmentation.nii.gz"  # it can be accepted or rejected all the same


def test_an_image_that_has_moved(results, tmp_path):
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert entries(write_review(results, [tmp_path / "elsewhere"]))["scan"]["problem"] == ""


def test_an_image_on_another_grid(results, tmp_path):
    """A DICOM series is known by its place alone; here a record says nothing about the image."""
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(results / "breast" / "segmentation.png")
    assert (
        "expected an image on the mask's grid of (3, 4)"
        in entries(write_review(results))["breast"]["problem"]
    )


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"labels": 3}'], ids=["empty", "cut", "list", "no labels"]
)
def test_a_broken_record_is_listed_first_and_not_decided(results, content):
    (results / "scan" / "measurements.json").write_text(content)
    cases = entries(write_review(results))
    assert next(iter(cases)) == "scan"
    assert cases["scan"]["verdict"] == "broken"
    assert "measurements.json" in cases["scan"]["problem"]
    assert cases["scan"]["mask"] is None


def test_numbers_of_objects_are_not_edited(tmp_path):
    grid = np.zeros((4, 4), np.uint8)
    picture_case(tmp_path / "out", tmp_path / "images", "one", grid, grid, mode="instance")
    assert "mode instance" in entries(write_review(tmp_path / "out"))["one"]["fixed"]


def test_cases_of_a_cohort_lie_a_folder_deeper(results, tmp_path):
    (tmp_path / "cohort").mkdir()
    results.rename(tmp_path / "cohort" / "first")
    assert list(entries(write_review(tmp_path / "cohort"))) == ["first/breast", "first/scan"]


def test_the_page_names_no_place_of_an_image(results):
    page = write_review(results)
    for file in page.parent.rglob("*.js"):
        assert str(results.parent) not in file.read_text()


def test_a_reviewed_case_is_last(results):
    record = results / "breast" / "measurements.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"review": {"verdict": "accepted", "reviewer": "B. A."}}))
    cases = entries(write_review(results))
    assert list(cases) == ["scan", "breast"]
    assert cases["breast"]["reviewed"] == "accepted by B. A."


def test_another_folder(results, tmp_path):
    page = write_review(results, page=tmp_path / "page")
    assert entries(page)["scan"]["report"] == "../out/scan/report.html"
    assert not (results / "review").exists()


def test_nothing_is_overwritten(results, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="a new or empty folder, or an earlier page"):
        write_review(results, page=tmp_path / "other")
    with pytest.raises(UsageError, match="a new or empty folder, or an earlier page"):
        write_review(results, page=results / "scan")
    with pytest.raises(MedsegError, match="which is a file"):
        write_review(results, page=tmp_path / "other" / "thesis.txt")


@pytest.mark.parametrize("name", ["nowhere", "empty", "out/scan"])
def test_a_folder_without_cases(results, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"a folder (with results|that holds the folders of cases)"):
        write_review(tmp_path / name)
