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


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A picture with two lesions, and its mask of them."""
    path = tmp_path_factory.mktemp("two") / "two.png"
    picture, truth, _ = breast_ultrasound(3, lesions=2)
    Image.fromarray(picture).save(path)
    return path, truth


class TestObject:
    def test_the_lesion_at_a_seed(self, segmenter, two, run_medseg, tmp_path):
        """Its mask, its measurements and its files are of one lesion."""
        path, _ = two
        lesions = medseg.Segmenter(TASK, "cpu", mode="instance")(path)
        place = np.argwhere(lesions.mask.array == 2).mean(axis=0).round()
        command = ("segment", TASK, path, "-o", tmp_path, "--mode", "object", "--seed-px", *place)
        assert run_medseg(*command) == 0
        found = np.asarray(Image.open(tmp_path / "two" / "segmentation.png"))
        assert np.array_equal(found == 1, lesions.mask.array == 2)
        record = json.loads((tmp_path / "two" / "measurements.json").read_text())
        assert record["labels"] == {"0": "background", "1": "lesion"}
        assert record["measurements"]["largest_lesion_area_px"]["value"] == (found == 1).sum()
        assert record["measurements"]["lesion_count"]["value"] == 1
        assert record["provenance"]["mode"] == "object"
        assert record["provenance"]["seed"] == f"{place[0]:g}, {place[1]:g} px"
        assert "of other objects left out" in record["provenance"]["postprocessing"][-1]

    def test_the_largest_without_a_seed(self, two):
        path, _ = two
        found = medseg.segment(path, TASK, "cpu", mode="object").mask.array
        lesions = medseg.segment(path, TASK, "cpu", mode="instance").mask.array
        assert np.array_equal(found == 1, lesions == 1)

    @pytest.mark.parametrize(
        ("seed", "message"),
        [((0, 0), "away. Give another place"), ((9999, 3), "a seed inside the picture")],
    )
    def test_a_seed_that_hits_nothing_rejects_the_picture(
        self, two, run_medseg, tmp_path, capsys, seed, message
    ):
        path, _ = two
        assert run_medseg("segment", TASK, path, "-o", tmp_path, "--mode", "object", "--seed-px", *seed) == 3
        assert message in capsys.readouterr().err
        assert not (tmp_path / "two").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--mode", "instance", "--seed-px", 3, 4], "a seed with the mode object; got mode instance"),
            (["--mode", "object", "--seed-px", 3, 4, "--seed-mm", 1, -2, 3], "one seed; got one in px"),
            (["--mode", "object", "--seed-px", 3, "nan"], "row and column in px; got 3, nan px"),
        ],
    )
    def test_seeds_that_are_refused_before_anything_runs(
        self, two, run_medseg, tmp_path, capsys, options, message
    ):
        path, _ = two
        assert run_medseg("segment", TASK, path, "-o", tmp_path, *options) == 2
        assert message in capsys.readouterr().err

    def test_one_seed_is_no_place_in_several_pictures(self, two, run_medseg, tmp_path, capsys):
        path, _ = two
        (tmp_path / "other.png").write_bytes(path.read_bytes())
        command = ("segment", TASK, path, tmp_path / "other.png", "-o", tmp_path / "out", "--mode", "object")
        assert run_medseg(*command, "--seed-px", 3, 4) == 2
        assert "one image with a seed; got 2" in capsys.readouterr().err


def test_panoptic(segmenter, two, run_medseg, tmp_path):
    """The map in colours, the label map and the record say the same; semantic leaves none of them."""
    path, _ = two
    assert run_medseg("segment", TASK, path, "-o", tmp_path, "--mode", "panoptic") == 0
    ids = np.asarray(Image.open(tmp_path / "two" / "segmentation.png"))
    colours = np.asarray(Image.open(tmp_path / "two" / "panoptic.png")).astype(int)
    assert np.array_equal(colours @ (1, 256, 65536), ids)
    record = json.loads((tmp_path / "two" / "panoptic.json").read_text())
    names = {category["id"]: category["name"] for category in record["categories"]}
    (annotation,) = record["annotations"]
    found = [(names[info["category_id"]], info["area"]) for info in annotation["segments_info"]]
    assert [name for name, _ in found] == ["background", "lesion", "lesion"]
    assert [area for _, area in found] == np.bincount(ids.ravel(), minlength=4)[1:].tolist()
    assert np.array_equal(ids > 1, segmenter(path).mask.array == 1)
    assert run_medseg("segment", TASK, path, "-o", tmp_path) == 0
    names = ["measurements.json", "overlay.png", "report.html", "segmentation.png"]
    assert sorted(file.name for file in (tmp_path / "two").iterdir()) == names


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
