"""The predicted Dice of a case: what is said of it, and when nothing is."""

from types import SimpleNamespace

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import BundleError, UsageError
from medseg.quality.prediction import DicePredictor, judged, load, novelty, regression
from medseg.quality.prediction.predictor import Fitted, save
from medseg.volume import Mask

NAMES = ["brightness", "mirrored", "novelty"]
ABOUT = {"method": "small", "weights_sha256": "aa", "labels": ["lesion"], "names": {"lesion": NAMES}}


@pytest.fixture(scope="module")
def fitted():
    """Dice falls with the agreement of mirrored copies, and with nothing else."""
    random = np.random.default_rng(0)
    mirrored = random.uniform(size=300)
    signals = np.stack([random.uniform(size=300), mirrored, random.normal(size=300)], axis=1)
    dice = np.clip(mirrored + 0.03 * random.normal(size=300), 0, 1)
    groups = [str(number) for number in range(300)]
    known = novelty.describe(random.normal(size=(100, 8)), groups[:100])
    known.pop("distances_in_order")
    return Fitted(
        ABOUT,
        {
            **{f"lesion/{name}": array for name, array in regression.grow(signals, dice, groups).items()},
            "lesion/usual": np.array([0.5, 0.95, 0.0]),
            **{f"novelty/{name}": array for name, array in known.items()},
            "reference/area": np.arange(5.0),
        },
    )


@pytest.fixture
def file(fitted, tmp_path):
    path = tmp_path / "small.quality.npz"
    path.write_bytes(save(fitted))
    return path


def case_of(shape=(64, 64)):
    rows, columns = np.indices(shape)
    where = (rows - 30) ** 2 + (columns - 30) ** 2 < 200
    image = (90 * where + rows)[None].astype(np.float32)
    return Case(Mask(where.astype(np.uint8), {0: "background", 1: "lesion"}), image)


def observer(shift=0, features=None):
    scores = np.where(case_of().mask.array > 0, 8.0, -8.0).astype(np.float32)[None]
    last = SimpleNamespace(scores=scores, copies=(scores, np.roll(scores, shift, axis=2)), features=features)
    return SimpleNamespace(last=last)


def quality_of(file, **options):
    predictor = DicePredictor(file, outputs="sigmoid", least={"lesion": 0.5}, **options)
    return judged({"verdict": "pass", "reasons": []}, predictor, ("small", "aa", {}), case_of(), {}, {})


def test_a_good_mask(file):
    found = quality_of(file, observer=observer())
    dice = found["predicted_dice"]["lesion"]
    low, high = dice["interval"]
    assert low <= dice["value"] <= high
    assert dice["value"] > 0.85
    assert (found["verdict"], found["reasons"]) == ("pass", [])


def test_a_bad_mask_is_rejected_with_its_reason(file):
    found = quality_of(file, observer=observer(shift=20))
    assert found["verdict"] == "reject"
    assert found["predicted_dice"]["lesion"]["value"] < 0.4
    assert "below 0.5 a mask is rejected" in found["reasons"][0]
    assert "gives another lesion for the mirror image" in found["reasons"][1]


def test_a_least_dice_that_is_none(file):
    with pytest.raises(UsageError, match="from 0 to 1"):
        DicePredictor(file, least={"lesion": 2})


def test_a_label_that_is_never_rejected(file):
    predictor = DicePredictor(file, outputs="sigmoid", observer=observer(shift=20), least={"other": 0.5})
    found = judged({"verdict": "pass", "reasons": []}, predictor, ("small", "aa", {}), case_of(), {}, {})
    assert found["predicted_dice"]["lesion"]["value"] < 0.4
    assert found["verdict"] == "warn"


def test_an_image_unlike_those_learnt_from(file):
    found = quality_of(file, observer=observer(features=np.full(8, 30.0)))
    assert found["verdict"] == "warn"
    assert found["novelty"]["percentile"] > 99
    assert "unlike the training images" in found["reasons"][0]
    usual = quality_of(file, observer=observer(features=np.zeros(8)))
    assert usual["novelty"]["percentile"] < 50


def test_features_of_another_network_have_no_percentile(file):
    assert "novelty" not in quality_of(file, observer=observer(features=np.zeros(9)))


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (("other", "aa", {}), "was fitted for small, not for other"),
        (("small", "b", {}), "other weights"),
        (("small", "aa", {"threshold": "0.9"}), "own settings, not for threshold"),
    ],
)
def test_other_methods_and_weights_have_no_prediction(file, about, reason):
    predictor = DicePredictor(file, observer=observer(), outputs="sigmoid")
    found = judged({"verdict": "pass", "reasons": []}, predictor, about, case_of(), {}, {})
    assert "predicted_dice" not in found
    assert reason in found["predicted_dice_reason"]


def test_no_predictor(tmp_path):
    found = judged({"verdict": "pass", "reasons": []}, None, ("small", "aa", {}), case_of(), {}, {})
    assert found["predicted_dice_reason"] == "no predictor was fitted for this method"
    missing = DicePredictor(tmp_path / "none.npz")
    assert missing.unfit("small", "aa", {}) == found["predicted_dice_reason"]


def test_the_file_is_read_as_it_was_written(file, fitted):
    found = load(file)
    assert found.about == fitted.about
    assert set(found.arrays) == set(fitted.arrays)
    assert list(found.part("reference")["area"]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"arrays"])
def test_a_damaged_file(tmp_path, content):
    path = tmp_path / "small.quality.npz"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        DicePredictor(path)


def test_a_file_that_is_not_the_pinned_one(file, tmp_path):
    with pytest.raises(BundleError, match="SHA-256"):
        DicePredictor(file, sha256="0" * 64)
    with pytest.raises(BundleError, match="no file"):
        load(tmp_path / "none.npz", sha256="0" * 64)


def test_objects_in_the_file_are_not_executed(tmp_path):
    path = tmp_path / "small.quality.npz"
    np.savez(path, about=np.array([print], dtype=object))
    with pytest.raises(BundleError, match="damaged"):
        DicePredictor(path)
