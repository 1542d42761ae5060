"""Decisions applied: masks, measurements and every format written anew, and what is refused."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pydicom
import pytest
from fundus_pictures import phantom, write_png
from review_decisions import decide, encoded, read, save
from seg_reader import read_seg
from sr_reader import evaluations, groups, numbers_by_highdicom, texts

import medseg
from medseg.bundle import open_bundle
from medseg.errors import UnsuitableError, UsageError
from medseg.io import read_volume
from medseg.io.nifti import write as write_nifti
from medseg.phantoms.dicom_series import write_series
from medseg.reports.seal import broken_seals
from medseg.review.apply import apply_decisions
from medseg.sources import remember
from medseg.verification.verify import verify

pytestmark = pytest.mark.seconds

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
LUNG_FORMATS = ["nifti", "nrrd", "png", "html", "dicom-seg", "rtstruct", "mesh", "tissue"]


def turned(volume):
    """The same chest on an oblique grid."""
    angle = np.radians(15)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return dataclasses.replace(volume, affine=turn @ np.asarray(volume.affine))


@pytest.fixture(scope="module")
def results(chest_phantom, tmp_path_factory):
    """A DICOM series, an oblique one, a NIfTI volume and a picture, segmented: copied by each test."""
    home = tmp_path_factory.mktemp("review")
    inputs = home / "inputs"
    for name, volume in (("series", chest_phantom), ("oblique", turned(chest_phantom))):
        write_series(volume, inputs / name)
    write_nifti(chest_phantom.array, chest_phantom.affine, inputs / "volume.nii.gz")
    write_png(inputs / "eye.png", phantom(5)[0])
    lungs = medseg.Segmenter("lung_ct", "cpu", method="classical")
    vessels = medseg.Segmenter("retinal_vessel", "cpu", method="matched_filter")
    for name in ("series", "oblique"):
        report = ["dicom-sr"] if name == "oblique" else []
        lungs(inputs / name).save(home / "out" / name, [*LUNG_FORMATS, *report])
    lungs(inputs / "volume.nii.gz").save(home / "out" / "volume")
    vessels(inputs / "eye.png", (0.02, 0.03)).save(home / "out" / "eye")
    for source in inputs.iterdir():
        remember(home / "out", source.name.partition(".")[0], source)
    return home


@pytest.fixture
def out(results, tmp_path):
    return shutil.copytree(results / "out", tmp_path / "out")


def edited(folder):
    """A mask with a block of another label, and a block taken away; nowhere symmetric."""
    array, affine = read(folder)
    array = array.copy()
    array[tuple(slice(n // 2, n // 2 + n // 8) for n in array.shape)] = 1
    array[tuple(slice(n // 4, n // 2 - 1) for n in array.shape)] = 0
    return array, affine


def record_of(folder):
    return json.loads((folder / "measurements.json").read_text())


def state(folder):
    """All files with their content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["series", "oblique", "volume", "eye"])
def test_an_edit_is_written_in_every_format(results, out, tmp_path, name):
    folder = out / name
    before, old, held = read(folder)[0], record_of(folder), set(state(folder))
    array, affine = edited(folder)
    entry = decide(folder, "edit", encoded(array, affine), comment="apex was missed")
    (done,) = apply_decisions([save(tmp_path / "d.json", {name: entry})], out)
    assert done.verdict == "edited"
    again, affine_again = read(folder)
    assert np.array_equal(again, array)
    assert (affine is None) or np.array_equal(affine, affine_again)
    kept = "segmentation.automatic" + (".png" if name == "eye" else ".nii.gz")
    assert set(state(folder)) == held | {kept}
    assert hashlib.sha256((folder / kept).read_bytes()).hexdigest() == entry["mask_sha256"]
    record = record_of(folder)
    assert record["review"] == {
        "verdict": "edited",
        "reviewer": "Reader one",
        "date": "2026-07-01T10:00:00+00:00",
        "comment": "apex was missed",
    }
    (review,) = record["provenance"].pop("review")
    assert review["mask_sha256"] == entry["mask_sha256"]
    assert review["earlier_mask"] == kept
    for value, label in record["labels"].items():
        if value != "0":
            now, then = array == int(value), before == int(value)
            counted = {"added": int((now & ~then).sum()), "removed": int((then & ~now).sum())}
            assert review["voxels_changed"][label] == counted
    assert record["quality"] == old["quality"]
    assert record["provenance"] == old["provenance"]
    assert record["measurements"] != old["measurements"]


@pytest.mark.parametrize("decision", ["edit", "accept", "reject"])
def test_what_a_review_writes_is_as_it_was_written(out, tmp_path, decision):
    """After one decision, and after another; a file that somebody has changed before stays a changed one."""
    folder = out / "series"
    edit = encoded(*edited(folder)) if decision == "edit" else None
    apply_decisions([save(tmp_path / "d.json", {"series": decide(folder, decision, edit)})], out)
    (checked,) = verify(folder)
    assert (checked.state, *checked.texts) == ("as written",)
    assert checked.stamp.is_edited == (decision == "edit")
    for name in ("report.html", "overlay.png"):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    again = save(tmp_path / "e.json", {"series": decide(folder, "accept")}, made="2026-07-02T10:00:00Z")
    apply_decisions([again], out)
    assert verify(folder)[0].faults == ("overlay.png was changed", "report.html was changed")


def test_a_kept_mask_is_verified_too(out, tmp_path):
    folder = out / "eye"
    entry = decide(folder, "edit", encoded(*edited(folder)))
    apply_decisions([save(tmp_path / "d.json", {"eye": entry})], out)
    (folder / "segmentation.automatic.png").write_bytes(b"")
    assert verify(folder)[0].faults == ("segmentation.automatic.png was changed",)


@pytest.mark.parametrize("name", ["series", "oblique"])
def test_dicom_of_an_edit(results, out, tmp_path, name):
    """SEG holds the edited mask voxel for voxel, and says that a person corrected it."""
    folder = out / name
    array, affine = edited(folder)
    file = save(tmp_path / "d.json", {name: decide(folder, "edit", encoded(array, affine))})
    apply_decisions([file], out)
    image = read_volume(results / "inputs" / name, "CT")
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    assert {item.SegmentAlgorithmType for item in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert np.array_equal(read_seg(folder / "segmentation.dcm", LABELS, image).array, array)
    assert np.array_equal(by_highdicom(folder / "segmentation.dcm", image), array)
    regions = pydicom.dcmread(folder / "rtstruct.dcm").StructureSetROISequence
    assert {item.ROIGenerationAlgorithm for item in regions} == {"SEMIAUTOMATIC"}


def test_the_report_of_an_edit(out, tmp_path):
    """It has the numbers of the edited mask, refers to its SEG, and says who corrected it."""
    folder = out / "oblique"
    edit = encoded(*edited(folder))
    apply_decisions([save(tmp_path / "d.json", {"oblique": decide(folder, "edit", edit)})], out)
    measures, numbers = record_of(folder)["measurements"], numbers_by_highdicom(folder / "report.dcm")
    for label in ("left_lung", "right_lung"):
        assert numbers[label, "118565006", None, "mL"] == measures[f"{label}_volume_ml"]["value"]
    images = groups(folder / "report.dcm")["left_lung"].ContentSequence
    (reference,) = [item.ReferencedSOPSequence[0] for item in images if item.ValueType == "IMAGE"]
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(folder / "segmentation.dcm").SOPInstanceUID
    assert texts(evaluations(folder / "report.dcm"), "REVIEW")[0].startswith("edit by Reader one")


def by_highdicom(path, image):
    """(i, j, k) labels of a SEG on the slices of a series."""
    import highdicom as hd

    seg = hd.seg.segread(path)
    frames = seg.get_pixels_by_source_instance(
        [str(header.SOPInstanceUID) for header in image.headers],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    names = {value: str(seg.get_segment_description(value).segment_label) for value in seg.segment_numbers}
    values = np.zeros(max(names) + 1, np.uint8)
    for number, label in names.items():
        values[number] = next(value for value, name in LABELS.items() if name == label)
    return values[frames].transpose(2, 1, 0)


def test_measured_as_the_bundle_measures(results, out, tmp_path):
    """The size of a pixel that the user gave counts again; without a change the numbers stay."""
    folder = out / "eye"
    old = record_of(folder)
    apply_decisions([save(tmp_path / "d.json", {"eye": decide(folder, "edit", encoded(*read(folder)))})], out)
    assert record_of(folder)["measurements"] == old["measurements"]
    assert record_of(folder)["warnings"] == old["warnings"]
    assert old["measurements"]["field_area_mm2"]["value"] is not None


@pytest.mark.parametrize(("decision", "verdict"), [("accept", "accepted"), ("reject", "rejected")])
def test_accepting_and_rejecting_change_the_record_and_the_page(out, tmp_path, decision, verdict):
    folder = out / "eye"
    before, old = state(out), record_of(folder)
    (done,) = apply_decisions([save(tmp_path / "d.json", {"eye": decide(folder, decision)})], out)
    assert (done.case, done.verdict) == ("eye", verdict)
    after, record = state(out), record_of(folder)
    assert {name for name in after if after[name] != before.get(name)} == {
        "eye/measurements.json",
        "eye/report.html",
    }
    page = (folder / "report.html").read_text()
    assert page.index(f"{verdict.capitalize()} by Reader one") < page.index("<h1>")
    assert record.pop("review")["verdict"] == verdict
    assert record["provenance"].pop("review")[0]["decision"] == decision
    assert broken_seals(record_of(folder)) == []
    for each in (record, old):
        del each["digests"], each["files"]["report.html"]
    assert record == old


def verdicts(out, tmp_path, name, *each):
    """Apply decisions one after the other, a day apart; what became of the last one."""
    for day, (decision, edit) in enumerate(each, 1):
        entry = decide(out / name, decision, edit, comment="<i>apex</i>")
        file = save(tmp_path / f"{day}.json", {name: entry}, made=f"2026-07-{day:02}T10:00Z")
        (done,) = apply_decisions([file], out)
    return done


def test_no_dicom_file_of_a_rejected_mask_stands_there_unmarked(out, tmp_path):
    """They are renamed, have their names again once the mask is accepted, and are none after an edit."""
    folder, names = out / "oblique", ("segmentation.dcm", "rtstruct.dcm", "report.dcm")
    before = state(folder)
    done = verdicts(out, tmp_path, "oblique", ("reject", None))
    assert "segmentation.dcm is now segmentation.dcm.rejected" in done.text
    after = state(folder)
    for name in names:
        assert name not in after
        assert after[f"{name}.rejected"] == before[name]
    page = (folder / "report.html").read_text()
    assert "Rejected by Reader one" in page
    assert "&lt;i&gt;apex" in page
    verdicts(out, tmp_path, "oblique", ("reject", None), ("accept", None))
    after = state(folder)
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    assert set(after) == set(before)
    page = (folder / "report.html").read_text()
    assert "Rejected by" not in page
    assert "Accepted by Reader one" in page
    edit = encoded(*edited(folder))
    verdicts(out, tmp_path, "oblique", ("reject", None), ("accept", None), ("reject", None), ("edit", edit))
    after = state(folder)
    assert set(after) == {*before, "segmentation.automatic.nii.gz"}
    assert not [name for name in names if after[name] == before[name]]


def test_a_page_of_another_kind_stays(out, tmp_path):
    (out / "eye" / "report.html").write_text("<p>mine")
    assert "report.html is not as medseg writes it" in verdicts(out, tmp_path, "eye", ("reject", None)).text
    assert (out / "eye" / "report.html").read_text() == "<p>mine"


@pytest.mark.parametrize("formats", [["nifti", "dicom-seg", "rtstruct"], None], ids=["noted", "not known"])
def test_the_first_object_of_an_empty_mask(results, out, tmp_path, formats):
    """Of an empty mask no SEG is written; of the edited one it is, where it was noted as asked for."""
    folder, source = out / "series", results / "inputs" / "series"
    array, affine = edited(folder)
    empty = encoded(np.zeros_like(array), affine)
    verdicts(out, tmp_path, "series", ("edit", empty))
    assert not (folder / "segmentation.dcm").exists()
    remember(out, "series", source, formats)
    file = save(
        tmp_path / "later.json",
        {"series": decide(folder, "edit", encoded(array, affine))},
        made="2026-08-01T10:00Z",
    )
    (done,) = apply_decisions([file], out)
    assert (folder / "segmentation.dcm").exists() == (folder / "rtstruct.dcm").exists() == bool(formats)
    assert ("what was asked for isn't known" in done.text) == (formats is None)


@pytest.mark.parametrize("name", ["volume", "eye"])
def test_a_mirrored_mask_is_applied_with_a_warning(out, tmp_path, caplog, name):
    folder = out / name
    array, affine = read(folder)
    array = array.copy()
    array[: array.shape[0] // 2][array[: array.shape[0] // 2] == 1] = 0  # what there is lies on one side
    other = save(tmp_path / "0.json", {name: decide(folder, "edit", encoded(array, affine))})
    apply_decisions([other], out)
    caplog.clear()
    verdicts(out, tmp_path, name, ("reject", None), ("edit", encoded(array[::-1], affine)))
    record = record_of(folder)
    (told,) = [text for text in record["warnings"] if "the edited mask" in text]
    assert record["provenance"]["review"][-1]["warning"] == told
    assert f"{name}: warning: {told}" in caplog.text
    assert np.array_equal(read(folder)[0], array[::-1])


def test_a_review_from_the_future_does_not_lock_the_case(out, tmp_path):
    folder = out / "eye"
    verdicts(out, tmp_path, "eye", ("accept", None))
    record = record_of(folder)
    record["provenance"]["review"][0]["date"] = "2999-01-01T00:00:00"
    (folder / "measurements.json").write_text(json.dumps(record))
    file = save(tmp_path / "later.json", {"eye": decide(folder, "reject")}, made="2026-08-01T10:00Z")
    assert apply_decisions([file], out)[0].verdict == "rejected"


def test_what_can_be_no_text_is_written_all_the_same(out, tmp_path):
    """Half of an emoji, which a browser may leave at the end of a comment."""
    file = save(tmp_path / "d.json", {"eye": decide(out / "eye", "accept", comment="fine \ud83d")})
    apply_decisions([file], out)
    assert record_of(out / "eye")["review"]["comment"] == "fine ?"


def test_the_same_file_again_changes_nothing(out, tmp_path):
    folder = out / "eye"
    file = save(tmp_path / "d.json", {"eye": decide(folder, "edit", encoded(*edited(folder)))})
    apply_decisions([file], out)
    before = state(out)
    assert apply_decisions([file], out)[0].text == "applied before"
    assert state(out) == before


def test_a_second_edit_keeps_the_first(out, tmp_path):
    folder = out / "eye"
    apply_decisions(
        [save(tmp_path / "1.json", {"eye": decide(folder, "edit", encoded(*edited(folder)))})], out
    )
    first, second = read(folder)[0], np.zeros_like(read(folder)[0])
    second[100:140, 100:150] = 1
    later = save(
        tmp_path / "2.json", {"eye": decide(folder, "edit", encoded(second))}, made="2026-07-02T10:00Z"
    )
    (done,) = apply_decisions([later], out)
    assert done.text.endswith("after edit by Reader one")
    assert (folder / "segmentation.review-1.png").is_file()
    assert (folder / "segmentation.automatic.png").is_file()
    assert [review["decision"] for review in record_of(folder)["provenance"]["review"]] == ["edit", "edit"]
    assert not np.array_equal(first, read(folder)[0])


class TestRefusals:
    """Each leaves the whole folder as it was, whatever else the files decide."""

    @pytest.fixture
    def refused(self, out, tmp_path):
        def check(match, *files, error=UnsuitableError):
            before = state(out)
            with pytest.raises(error, match=match):
                apply_decisions(files, out)
            assert state(out) == before

        return check

    @pytest.fixture
    def one(self, out, tmp_path):
        """A file with a sound decision about the volume, and another about the picture."""

        def write(entry, name="eye", file="d.json", **about):
            cases = {"volume": decide(out / "volume", "accept"), name: entry}
            return save(tmp_path / file, cases, **about)

        return write

    def test_another_shape(self, out, one, refused):
        array = np.zeros((30, 40))
        entry = decide(out / "eye", "edit", encoded(array))
        refused(
            r"on the grid of the image, 240 x 240 px; got segmentation\.png \(d\.json\) with 30 x 40 px",
            one(entry),
        )

    def test_another_affine(self, out, one, refused):
        array, affine = read(out / "series")
        moved = affine.copy()
        moved[0, 3] += 1
        refused("voxels away", one(decide(out / "series", "edit", encoded(array, moved)), "series"))
        refused("voxels away", one(decide(out / "series", "edit", encoded(array[::-1], -affine)), "series"))

    def test_an_unknown_label(self, out, one, refused):
        array = read(out / "eye")[0].copy()
        array[3, 3] = 7
        refused(r"label values \[0, 1\]", one(decide(out / "eye", "edit", encoded(array))))

    def test_a_mask_that_is_no_image(self, out, one, refused):
        refused(r"1 of 2 that can't be: eye \(d\.json\)", one(decide(out / "eye", "edit", b"no picture")))

    def test_a_mask_of_the_other_kind(self, out, one, refused):
        entry = decide(out / "eye", "edit", encoded(read(out / "eye")[0]))
        entry["edited"]["name"] = "segmentation.nii.gz"
        refused("Save the decisions on the review page again", one(entry))

    def test_a_case_that_was_segmented_anew(self, out, one, refused):
        refused("was segmented anew since", one(decide(out / "eye", "accept", mask_sha256="0" * 64)))

    def test_a_case_that_was_edited_since(self, out, one, refused, tmp_path):
        late = one(decide(out / "eye", "accept"))
        cases = {"eye": decide(out / "eye", "edit", encoded(*edited(out / "eye")))}
        apply_decisions([save(tmp_path / "1.json", cases, "Ada")], out)
        refused("was edited by Ada since", late)

    def test_a_decision_that_is_older(self, out, one, refused, tmp_path):
        entry = decide(out / "eye", "accept")
        apply_decisions([save(tmp_path / "1.json", {"eye": entry}, "Ada", "2026-07-02T10:00:00Z")], out)
        refused("before accept by Ada", one(decide(out / "eye", "reject")))

    @pytest.mark.parametrize("name", ["nobody", "../out/eye", "eye/", ".", "/etc", "eye\0"], ids=repr)
    def test_a_case_that_is_not_there(self, out, one, refused, name):
        refused("a name that no case has", one(decide(out / "eye", "accept"), name))

    def test_reviewers_who_differ(self, out, one, refused):
        array = read(out / "eye")[0].copy()
        array[10:13, 20] ^= 1
        files = [
            one(decide(out / "eye", "edit", encoded(mask)), file=f"{name}.json", reviewer=name)
            for name, mask in (("Ada", array), ("Ben", read(out / "eye")[0]))
        ]
        refused(r"differ in 3 pixels from \[10, 20\] to \[12, 20\]", *files)

    def test_an_image_that_is_gone(self, results, out, one, refused, tmp_path):
        (out / "sources.jsonl").unlink()
        file = one(decide(out / "eye", "edit", encoded(*edited(out / "eye"))))
        refused("by --images", file)
        apply_decisions([file], out, [results / "inputs" / "eye.png"])

    @pytest.mark.parametrize("reviews", [[5], [{}], 3, [{"decision": "accept", "date": "x"}]], ids=str)
    def test_reviews_that_are_damaged(self, out, one, refused, reviews):
        record = record_of(out / "eye")
        record["provenance"]["review"] = reviews
        (out / "eye" / "measurements.json").write_text(json.dumps(record))
        refused(r"eye \(d\.json\).*provenance\.review is damaged", one(decide(out / "eye", "accept")))

    def test_a_mask_of_numbered_objects(self, out, one, refused):
        record = record_of(out / "eye")
        record["provenance"]["mode"] = "instance"
        (out / "eye" / "measurements.json").write_text(json.dumps(record))
        refused("one of the mode instance", one(decide(out / "eye", "edit", encoded(*read(out / "eye")))))

    def test_a_folder_without_cases(self, one, out, tmp_path):
        with pytest.raises(UsageError, match="a folder with results"):
            apply_decisions([one(decide(out / "eye", "accept"))], tmp_path / "nothing")


def test_another_series_is_not_measured(results, out, tmp_path, chest_phantom):
    """A series of many files is known by its place alone, so its voxels are compared."""
    changed = dataclasses.replace(chest_phantom, array=chest_phantom.array + np.int16(5))
    write_series(changed, tmp_path / "series")
    (out / "sources.jsonl").unlink()
    before = state(out)
    file = save(
        tmp_path / "d.json", {"series": decide(out / "series", "edit", encoded(*edited(out / "series")))}
    )
    with pytest.raises(UnsuitableError, match="one with other voxels"):
        apply_decisions([file], out, [tmp_path / "series"])
    assert state(out) == before


def test_a_reviewed_result_is_not_replaced(results, out, tmp_path, run_medseg, capsys):
    folder = out / "eye"
    apply_decisions([save(tmp_path / "d.json", {"eye": decide(folder, "reject")})], out)
    before = state(folder)
    source = results / "inputs" / "eye.png"
    assert run_medseg("segment", "retinal_vessel", source, "-o", out, "--method", "matched_filter") == 3
    assert "a folder whose result no person has reviewed" in capsys.readouterr().err
    assert state(folder) == before


def test_measuring_needs_no_weights(out, tmp_path, monkeypatch):
    """Where a network's weights are no longer there, its results can still be corrected."""
    bundle = shutil.copytree(open_bundle("retinal_vessel").root, tmp_path / "bundles" / "retinal_vessel")
    shutil.rmtree(bundle / "models")
    monkeypatch.chdir(tmp_path)
    folder = out / "eye"
    record = record_of(folder)
    record["provenance"]["method"] = "unet"
    (folder / "measurements.json").write_text(json.dumps(record))
    entry = decide(folder, "edit", encoded(*edited(folder)))
    apply_decisions([save(tmp_path / "d.json", {"eye": entry})], out)
    assert record_of(folder)["review"]["verdict"] == "edited"


def test_a_bundle_that_is_gone(out, tmp_path):
    folder = out / "eye"
    record = record_of(folder)
    record["provenance"]["method"] = "unheard_of"
    (folder / "measurements.json").write_text(json.dumps(record))
    entry = decide(folder, "edit", encoded(*edited(folder)))
    with pytest.raises(UnsuitableError, match="the bundle and the method of the result"):
        apply_decisions([save(tmp_path / "d.json", {"eye": entry})], out)
    apply_decisions([save(tmp_path / "d.json", {"eye": decide(folder, "accept")})], out)
