"""From an image file to a saved result: the Python entry."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

import medseg
from medseg import phantoms
from medseg.errors import UnreadableError, UnsuitableError, UsageError, WeightsError
from medseg.io import read_mask
from medseg.metrics.overlap import confusion
from medseg.quality.ranges import check_ranges, judge

pytestmark = pytest.mark.seconds

TASK = "retinal_vessel"


@pytest.fixture(scope="module")
def segmenter():
    return medseg.Segmenter(TASK, "cpu")


@pytest.fixture(scope="module")
def phantom():
    return phantoms.fundus(700, seed=1)


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_vessels_of_a_phantom(segmenter, phantom, tmp_path):
    picture, truth, field = phantom
    result = segmenter(save(tmp_path / "phantom.png", picture))
    assert result.mask.array.shape == truth.shape
    assert confusion(result.mask.array, truth, field).dice > 0.75
    assert not result.mask.array[~result.field_of_view].any()
    # A phantom is no photograph of an eye, and the prediction of quality says so; no check of the input does.
    assert result.warnings == result.quality["reasons"]
    assert result.quality["predicted_dice"]["vessel"]["value"] < 0.75
    findings = segmenter.case(save(tmp_path / "again.png", picture)).findings
    assert {finding.kind for finding in findings} <= {"note"}


def test_random_weights_fail_on_the_phantom(phantom, tmp_path):
    import torch

    from medseg.bundle import open_bundle, parse

    torch.manual_seed(0)
    network = parse(open_bundle(TASK), "inference.yaml").get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "random.pt")
    overrides = {"weights": str(tmp_path / "random.pt"), "weights_sha256": None}
    result = medseg.Segmenter(TASK, "cpu", overrides)(save(tmp_path / "phantom.png", phantom[0]))
    assert confusion(result.mask.array, phantom[1], phantom[2]).dice < 0.4


def test_what_is_saved(segmenter, phantom, tmp_path):
    source = save(tmp_path / "phantom.png", phantom[0])
    result = segmenter(source, pixel_spacing_mm=(0.01, 0.01))
    folder = result.save(tmp_path / "out")
    names = ["measurements.json", "overlay.png", "report.html", "segmentation.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert np.array_equal(read_mask(folder / "segmentation.png", result.mask.labels).array, result.mask.array)
    record = json.loads((folder / "measurements.json").read_text())
    assert list(record)[:3] == ["task", "labels", "measurements"]
    assert record["task"] == TASK
    assert record["labels"] == {"0": "background", "1": "vessel"}
    assert record["warnings"] == result.warnings
    length = {unit: record["measurements"][f"centreline_length_{unit}"]["value"] for unit in ("px", "mm")}
    assert length["mm"] == pytest.approx(length["px"] * 0.01, rel=0.02)
    provenance = record["provenance"]
    assert provenance["input"] == "phantom"
    assert provenance["weights_sha256"] == medseg.bundle.sha256(
        medseg.bundle.find(TASK) / "models" / "model.pt"
    )
    assert provenance["input_sha256"] == medseg.bundle.sha256(source)
    assert str(tmp_path) not in (folder / "report.html").read_text() + json.dumps(record)


def test_an_unknown_scale_is_null_with_a_reason(segmenter, phantom, tmp_path):
    measurements = segmenter(save(tmp_path / "phantom.png", phantom[0])).measurements
    in_mm = {name: entry for name, entry in measurements.items() if entry["unit"].startswith("mm")}
    assert {"field_area_mm2"} <= set(in_mm)
    assert {entry["value"] for entry in in_mm.values()} == {None}
    assert all("pixel size is not known" in entry["reason"] for entry in in_mm.values())


def test_a_real_photograph_carries_no_warning(segmenter, tmp_path):
    result = segmenter(save(tmp_path / "retina.png", pictures.retina()))
    assert result.warnings == []
    assert 0.05 < result.measurements["vessel_area_fraction"]["value"] < 0.15


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee", "rocket", "hubble_deep_field", "camera"])
def test_other_photographs_carry_a_warning_or_are_rejected(segmenter, tmp_path, name):
    try:
        result = segmenter(save(tmp_path / f"{name}.png", getattr(pictures, name)()))
    except UnsuitableError:
        return
    assert result.warnings
    assert result.quality["verdict"] in ("warn", "reject")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda picture: picture[..., 1], "grey"),
        (lambda picture: np.dstack([picture, np.full(picture.shape[:2], 200, np.uint8)]), "alpha"),
        (lambda picture: picture[..., ::-1], "colours are not those of a retina"),
    ],
)
def test_odd_channels_carry_a_warning(segmenter, phantom, tmp_path, change, warning):
    result = segmenter(save(tmp_path / "odd.png", np.ascontiguousarray(change(phantom[0]))))
    assert any(warning in text for text in result.warnings)


def test_sixteen_bits_give_nearly_the_same_mask(segmenter, phantom, tmp_path):
    import tifffile

    eight = segmenter(save(tmp_path / "8.png", phantom[0]))
    tifffile.imwrite(tmp_path / "16.tif", phantom[0].astype(np.uint16) * 257, photometric="rgb")
    sixteen = segmenter(tmp_path / "16.tif")
    assert confusion(sixteen.mask.array, eight.mask.array).dice > 0.999


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((700, 700, 3), np.uint8),
        np.full((700, 700, 3), 255, np.uint8),
        pictures.retina()[700:710, 700:710],
    ],
    ids=["black", "white", "10x10"],
)
def test_no_picture_to_speak_of_is_rejected(segmenter, tmp_path, pixels):
    with pytest.raises(UnsuitableError):
        segmenter(save(tmp_path / "blank.png", pixels))


@pytest.mark.slow
def test_eighty_megapixels(segmenter, tmp_path):
    large = np.asarray(Image.fromarray(pictures.retina()).resize((8000, 8000)))
    large = np.pad(large, ((0, 0), (1000, 1000), (0, 0)))
    result = segmenter(save(tmp_path / "large.jpg", large))
    assert result.mask.array.shape == (8000, 10000)
    assert result.warnings == []


def test_a_volume_is_refused(segmenter, tmp_path):
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((8, 9, 10), np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    with pytest.raises(UnsuitableError, match="2 axes"):
        segmenter(tmp_path / "ct.nii.gz")


def test_a_missing_file_keeps_its_type_through_monai(segmenter, tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        segmenter(tmp_path / "none.png")


def test_flips_as_test_time_augmentation(segmenter, phantom, tmp_path):
    source = save(tmp_path / "phantom.png", phantom[0])
    flipped = medseg.Segmenter(TASK, "cpu", {"flip_axes": [2, 3]})(source)
    plain = segmenter(source)
    assert not np.array_equal(flipped.mask.array, plain.mask.array)
    assert confusion(flipped.mask.array, plain.mask.array).dice > 0.9


@pytest.mark.parametrize(
    ("task", "device", "message"),
    [
        ("retinal_vesel", "cpu", "Did you mean retinal_vessel"),
        (TASK, "gpu", r"a device \(auto, cpu, cuda or cuda:N\)"),
    ],
)
def test_unknown_names(task, device, message):
    with pytest.raises(UsageError, match=message):
        medseg.segment("photo.jpg", task=task, device=device)


def test_weights_with_another_hash(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="weights with the SHA-256"):
        medseg.Segmenter(TASK, "cpu", {"weights": str(tmp_path / "model.pt")})


def test_ranges():
    measurements = {"area_px": {"value": 12.0, "unit": "px"}, "length_mm": {"value": None, "unit": "mm"}}
    assert check_ranges(measurements, {"area_px": [0, 12], "length_mm": [1, 2]}) == []
    warnings = check_ranges(measurements, {"area_px": [0, 11.9]})
    assert warnings == ["area of 12 px is outside the usual 0 to 11.9 px"]
    volume = {"lung_volume_ml": {"value": 4712.3, "unit": "ml"}}
    volume_warnings = check_ranges(volume, {"lung_volume_ml": [300, 4500]})
    assert volume_warnings == ["lung volume of 4712 ml is outside the usual 300 to 4500 ml"]
    count = {"lesion_count": {"value": 5, "unit": "count"}}
    assert check_ranges(count, {"lesion_count": [0, 3]}) == ["lesion count of 5 is outside the usual 0 to 3"]
    assert judge(warnings) == {"verdict": "warn", "reasons": warnings}


@pytest.mark.parametrize(
    ("values", "said"),
    [([1, 2], []), ([1], ["not found: right lung"]), ([0], ["nothing was found: the mask is empty"])],
)
def test_labels_that_no_voxel_has_are_told(values, said):
    from medseg.pipeline import _absent
    from medseg.volume import Mask

    labels = {0: "background", 1: "left_lung", 2: "right_lung"}
    assert _absent(Mask(np.array([values], np.uint8), labels)) == said


@pytest.mark.parametrize("source", [None, 3, {"image": "a.png"}])
def test_what_is_no_image_is_refused(segmenter, source):
    with pytest.raises(UsageError, match=r"a medseg\.Volume, a MetaTensor"):
        segmenter(source)
