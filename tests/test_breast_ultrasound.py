"""The breast bundle from a picture to files, on pictures whose lesions are known."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import medseg
from medseg.bundle import open_bundle, parse
from medseg.errors import UsageError
from medseg.metrics.overlap import confusion
from medseg.phantoms import breast_ultrasound, example_ultrasound

pytestmark = pytest.mark.seconds

TASK = "breast_ultrasound"
SEEDS = range(6)


@pytest.fixture(scope="module")
def segmenter():
    return medseg.Segmenter(TASK, "cpu")


def mean_dice(segmenter, folder):
    scores = []
    for seed in SEEDS:
        picture, truth, _ = breast_ultrasound(seed)
        Image.fromarray(picture).save(folder / "picture.png")
        found = segmenter(folder / "picture.png").mask.array
        scores.append(confusion(found == 1, truth == 1).dice)
    return np.mean(scores)


def test_finds_lesions(segmenter, tmp_path):
    """A floor: pictures that look little like those of the training. Measured: 0.95."""
    assert mean_dice(segmenter, tmp_path) > 0.9


def test_random_weights_find_none(tmp_path):
    torch.manual_seed(0)
    network = parse(open_bundle(TASK), "inference.yaml").get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "random.pt")
    assert mean_dice(medseg.Segmenter(TASK, "cpu", weights=tmp_path / "random.pt"), tmp_path) < 0.5


def test_nothing_there(segmenter, tmp_path):
    """Most pictures without a lesion get none; then there is no probability of malignancy either."""
    empty = 0
    for seed in SEEDS:
        picture, _, _ = breast_ultrasound(seed, lesions=0)
        Image.fromarray(picture).save(tmp_path / "picture.png")
        result = segmenter(tmp_path / "picture.png")
        if not result.mask.array.any():
            empty += 1
            assert result.measurements["malignancy_probability"]["value"] is None
            assert result.measurements["lesion_count"]["value"] == 0
            assert not any("nothing was found" in warning for warning in result.warnings)
    assert empty >= 4


def test_three_entries_give_the_same_mask(segmenter, run_medseg, monai_bundle, tmp_path):
    source = example_ultrasound(tmp_path)
    expected = segmenter(source)
    assert run_medseg("segment", TASK, source, "-o", tmp_path / "cli", "--device", "cpu") == 0
    config = open_bundle(TASK).root / "configs" / "inference.yaml"
    done = monai_bundle(
        *("run", "--config_file", str(config), "--input", str(source)),
        *("--output_dir", str(tmp_path / "monai")),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for entry in ("cli", "monai"):
        folder = tmp_path / entry / "example_breast"
        mask = np.asarray(Image.open(folder / "segmentation.png"))
        assert mask.any()
        assert np.array_equal(mask, expected.mask.array)
        record = json.loads((folder / "measurements.json").read_text())
        found = record["measurements"]["malignancy_probability"]["value"]
        assert found == pytest.approx(expected.measurements["malignancy_probability"]["value"], abs=1e-5)


def test_sizes_in_mm(segmenter, tmp_path):
    source = example_ultrasound(tmp_path)
    measured = segmenter(source, pixel_spacing_mm=(0.1, 0.1)).measurements
    in_px = measured["largest_lesion_longest_diameter_px"]["value"]
    assert measured["largest_lesion_longest_diameter_mm"]["value"] == pytest.approx(in_px / 10)


def test_each_lesion_a_number(segmenter, run_medseg, tmp_path):
    """In the mask, its labels and the list of measurements alike."""
    Image.fromarray(breast_ultrasound(3, lesions=2)[0]).save(tmp_path / "two.png")
    expected = segmenter(tmp_path / "two.png").mask.array
    command = ("segment", TASK, tmp_path / "two.png", "-o", tmp_path, "--mode", "instance")
    assert run_medseg(*command) == 0
    found = np.asarray(Image.open(tmp_path / "two" / "segmentation.png"))
    assert np.array_equal(found > 0, expected > 0)
    record = json.loads((tmp_path / "two" / "measurements.json").read_text())
    sizes = np.bincount(found.ravel())[1:].tolist()
    assert [lesion["area_px"] for lesion in record["measurements"]["lesions"]["value"]] == sizes
    assert len(sizes) == 2
    assert record["labels"] == {"0": "background", "1": "lesion_1", "2": "lesion_2"}


def test_unknown_mode():
    with pytest.raises(UsageError, match="Did you mean instance"):
        medseg.segment("picture.png", TASK, mode="instances")


def test_an_impossible_size_carries_a_warning(segmenter, tmp_path):
    result = segmenter(example_ultrasound(tmp_path), pixel_spacing_mm=(10.0, 10.0))
    assert any("longest diameter of" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("temperatures", [[1.0, 0], [1.0, -1], [1.0, float("nan")], [1.0], 1.0, None]),
        ("offsets", [[0], [0, float("inf")], None, "no"]),
        ("lesion_threshold", [-0.1, 2, float("nan"), None, "no"]),
        ("uncertain", [[0.5], 0.5, None, [0.9, 0.05], [0.1, 2]]),
    ],
)
def test_keys_of_the_answers_are_checked(key, values):
    for value in values:
        with pytest.raises(UsageError, match=key):
            medseg.Segmenter(TASK, "cpu", {key: value})
