"""From rows to a predictor: what is fitted, and that the check leaves groups out."""

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.quality.prediction.predictor import Fitted, load, save
from medseg.training.quality.collect import FOREIGN, REAL, Row
from medseg.training.quality.fit import check, fit, left_out, with_novelty


def rows_of(people=50, per_person=4, seed=0):
    """Dice falls with the agreement of copies; real images are good, changed ones of all kinds."""
    random = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        features = random.normal(size=6)
        for copy in range(per_person):
            agreement = float(random.uniform(0.9, 1) if copy == 0 else random.uniform(0, 1))
            dice = float(np.clip(agreement - 0.05 + 0.03 * random.normal(), 0, 1))
            change = REAL if copy == 0 else "blurred"
            signals = {
                "lesion": {"mirrored": agreement, "noise": float(random.uniform()), "odd": float("nan")}
            }
            moved = features + (0 if copy == 0 else 20 * (1 - agreement))
            about = (f"{person}/{copy}", f"set/{person}", "set/test", 0, change, 0.5)
            measures = {"area": float(person)}
            rows.append(Row(*about, {"lesion": dice}, signals, measures, moved.astype(np.float32)))
    return rows


@pytest.fixture(scope="module")
def rows():
    return with_novelty(rows_of())


def test_novelty_is_about_none_for_real_images(rows):
    real = [row.signals["lesion"]["novelty"] for row in rows if row.change == REAL]
    far = [
        row.signals["lesion"]["novelty"] for row in rows if row.change != REAL and row.dice["lesion"] < 0.3
    ]
    assert abs(np.median(real)) < 0.1
    assert np.median(far) > 2


def test_the_check(rows):
    shown = {entry["name"]: entry for entry in check(rows, ["lesion"], [])}
    assert set(shown) == {"lesion, all", "lesion, real", "lesion, changed"}
    everything = shown["lesion, all"]
    assert everything["auroc"] > 0.95
    assert everything["mean_absolute_error"] < 0.06
    assert 0.82 <= everything["coverage"] <= 0.97


def test_what_is_checked_is_left_out(rows):
    """With named sets, only their rows are predicted, and half of the foreign ones."""
    others = [Row(**{**vars(row), "data_set": "other/test"}) for row in rows_of(20, seed=1)]
    foreign = [
        Row(
            **{
                **vars(row),
                "change": FOREIGN,
                "data_set": "alien/x",
                "case": f"f{row.case}",
                "group": f"alien/{n}",
            }
        )
        for n, row in enumerate(rows_of(20, 1, seed=2))
    ]
    predicted, left = left_out([*rows, *others, *foreign], "lesion", ["other/test"])
    assert len(predicted) == len(left)
    assert {row.data_set for row in left} == {"other/test", "alien/x"}
    assert 0 < sum(row.change == FOREIGN for row in left) < 20


def test_a_fitted_predictor_is_stored_and_read(rows, tmp_path):
    fitted = fit(rows, ["lesion"], {"method": "small", "weights_sha256": "aa"})
    file = tmp_path / "small.quality.npz"
    file.write_bytes(save(Fitted(fitted.about, fitted.arrays)))
    found = load(file).predict({"lesion": rows[0].signals["lesion"]}, None, {})
    assert found.dice["lesion"]["value"] == pytest.approx(rows[0].dice["lesion"], abs=0.1)
    assert found.novelty is None


def test_too_few_rows(rows):
    with pytest.raises(DataError, match="Add images"):
        fit(rows[:10], ["lesion"], {})
