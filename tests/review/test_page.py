"""The review page as files: which cases it lists, what it holds, what stays when it is written again."""

import base64
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from review_results import picture_case, volume_case

from medseg.errors import MedsegError, UsageError
from medseg.io import nifti, read_mask, read_volume
from medseg.io.stamps import read_stamp
from medseg.review.cases import find_cases
from medseg.review.page import write_review
from medseg.stamp import new_stamp

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


def test_a_stamped_mask_can_be_edited(results):
    """The page writes edited masks with its header, from which the stamp is taken."""
    path = results / "scan" / "segmentation.nii.gz"
    whole = read_volume(path)
    nifti.write(whole.array[0], whole.affine, path, new_stamp({}))
    page = write_review(results)
    facts = part(page, entries(page)["scan"], 0)
    assert facts["fixed"] == ""
    edited = results.parent / "edited.nii"
    mask = zlib.decompress(base64.b64decode(facts["mask"]))
    edited.write_bytes(base64.b64decode(facts["header"]) + mask)
    again = read_volume(edited)
    assert np.array_equal(again.array, whole.array)
    assert np.array_equal(again.affine, whole.affine)
    assert read_stamp(edited) is None


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
    "content",
    ["", "{", "[]", '{"labels": 3}', "[" * 100_000, '{"labels": {}, "measurements": {"a": 1e999}}', "NaN"],
    ids=["empty", "cut", "list", "no labels", "deep", "infinite", "NaN"],
)
def test_a_broken_record_is_listed_first_and_not_decided(results, content):
    (results / "scan" / "measurements.json").write_text(content)
    cases = entries(write_review(results))
    assert next(iter(cases)) == "scan"
    assert cases["scan"]["verdict"] == "broken"
    assert "measurements.json" in cases["scan"]["problem"]
    assert cases["scan"]["mask"] is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


BROKEN_MASKS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": cut,
    "another grid": lambda path: nifti.write(np.zeros((6, 5, 3), np.uint8), AFFINE, path),
    "an unknown label": lambda path: nifti.write(np.full((6, 5, 4), 9, np.uint8), AFFINE, path),
}


@pytest.mark.parametrize("damage", BROKEN_MASKS)
def test_a_broken_mask_is_listed_first_and_not_decided(results, damage):
    BROKEN_MASKS[damage](results / "scan" / "segmentation.nii.gz")
    cases = entries(write_review(results))
    assert list(cases) == ["scan", "breast"]
    assert cases["scan"]["verdict"] == "broken"
    assert cases["scan"]["problem"]
    assert cases["scan"]["mask"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": None},
        {"provenance": "here"},
        {"quality": [], "warnings": {}, "labels": {"0": "background", "1": 5, "2": {}}},
        {"quality": {"predicted_dice": {"a": {"value": 1, "interval": {}}}, "novelty": {"percentile": "x"}}},
        {"quality": {"verdict": {}, "reasons": 5, "predicted_dice": {"a": {"value": float("nan")}}}},
        {"quality": {"verdict": 5}},
        {"measurements": [], "review": 3},
    ],
    ids=lambda change: str(change)[:40],
)
def test_one_odd_record_never_stops_the_page(results, change):
    record = results / "scan" / "measurements.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    cases = entries(write_review(results))
    assert set(cases) == {"scan", "breast"}
    assert cases["scan"]["verdict"] in ("broken", "warn", "pass")


def test_quality_that_was_predicted(results):
    """The percentile of novelty too; NaN beside it is no strict JSON, so that the case is broken."""
    quality = {
        "verdict": "warn",
        "reasons": [],
        "predicted_dice": {"lesion": {"value": 0.155, "interval": [0.005, 1]}},
        "novelty": {"distance": 12.0, "percentile": 97.5},
    }
    record = results / "breast" / "measurements.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"quality": quality}))
    cases = entries(write_review(results))
    assert cases["breast"]["novelty"] == 97.5
    assert cases["breast"]["unusual"] == "98%"
    assert cases["breast"]["predicted"]["labels"] == {
        "Lesion": {"value": 0.155, "interval": [0.005, 1], "text": "0.16", "range": "0.01 to 1.00"}
    }
    assert cases["scan"]["novelty"] is None
    quality["predicted_dice"]["lesion"]["value"] = float("nan")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"quality": quality}))
    assert entries(write_review(results))["breast"]["verdict"] == "broken"


def test_a_script_that_is_not_whole_is_made_again(results):
    """As a power cut may leave it."""
    page = write_review(results)
    script = page.parent / "pieces" / f"{entries(page)['scan']['piece']}-1.js"
    before = script.read_bytes()
    script.write_bytes(b"")
    write_review(results)
    assert script.read_bytes() == before


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
    with pytest.raises(UsageError, match=r"got .*scan, which is a case"):
        write_review(results, page=results / "scan")
    with pytest.raises(MedsegError, match="which is a file"):
        write_review(results, page=tmp_path / "other" / "thesis.txt")


@pytest.mark.parametrize("name", ["nowhere", "empty", "out/scan"])
def test_a_folder_without_cases(results, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"a folder (with results|that holds the folders of cases)"):
        write_review(tmp_path / name)


def test_a_page_that_was_stopped_is_written_on(results, tmp_path, monkeypatch):
    """As kill -9 leaves it: the first pieces, and files that were to be renamed."""

    def stopped(*_):
        raise KeyboardInterrupt

    page = tmp_path / "page"
    with monkeypatch.context() as patch:
        patch.setattr("medseg.review.pieces.write_thumb", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_review(results, page=page)
    assert not (page / "index.html").exists()
    (piece,) = (page / "pieces").glob("*.json")
    for left in (page / ".0123abcd.cases.js", page / "pieces" / f".{piece.name}"):
        left.write_text("")
    assert set(entries(write_review(results, page=page))) == {"scan", "breast"}
    assert not list(page.rglob(".*"))


def test_a_page_that_was_stopped_at_its_first_file_is_written_on(results, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / ".0123abcd.cases.js").write_text("")
    assert write_review(results, page=tmp_path / "page").is_file()


@pytest.mark.parametrize("name", ["review", "review/inner"])
def test_a_case_has_the_name_of_the_page(results, name):
    (results / name).parent.mkdir(exist_ok=True)
    (results / "breast").rename(results / name)
    page = write_review(results)
    assert page == results / "review-page" / "index.html"
    assert set(entries(page)) == {"scan", name}
    assert write_review(results) == page
