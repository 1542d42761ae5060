"""Tissues of the lungs, on a lung whose content is known."""

import dataclasses

import numpy as np
import pytest
import yaml
from doc_pages import ROOT

from medseg.case import Case
from medseg.errors import UsageError
from medseg.measurements import LungTissues, measure_lungs
from medseg.measurements.tissues import LABELS, tubularity
from medseg.volume import Mask

VALUES = {name: value for value, name in LABELS.items()}
SPACING_MM = (1.5, 1.5, 2.0)
NAMES = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}


@pytest.fixture
def tissues():
    """As the bundle's configuration says."""
    text = (ROOT / "bundles/lung_ct/configs/inference.yaml").read_text()
    settings = yaml.safe_load(text)["result"]["tissues"]
    del settings["_target_"]
    return LungTissues(**settings)


def case():
    """Two boxes of aerated lung in a chest, an airway between them; partial volume at their border."""
    labels = np.zeros((72, 60, 40), np.uint8)
    labels[4:34, 4:56, 3:37], labels[40:68, 4:56, 3:37], labels[35:38, 28:32, 3:37] = 2, 1, 3
    image = np.full(labels.shape, 40.0)
    image[labels > 0] = -850
    image[labels == 3] = -1000
    for axis in range(3):  # half lung, half chest wall
        for shift in (1, -1):
            image[(labels > 0) & (np.roll(labels, shift, axis) == 0) & (labels < 3)] = -500
    affine = np.diag([-SPACING_MM[0], *SPACING_MM[1:], 1])
    return Case(Mask(labels, NAMES, affine=affine), image[None])


def found(method, case):
    return method(case, measure_lungs(case))


def test_healthy_lung_has_no_shell_of_ground_glass(tissues):
    mask, measures = found(tissues, case())
    labels = case().mask.array
    assert (mask.array[np.isin(labels, (1, 2))] == VALUES["aerated"]).all()
    assert (mask.array[labels == 3] == VALUES["airway"]).all()
    assert not mask.array[labels == 0].any()
    assert measures["left_lung_tissue_aerated_percent"]["value"] == 100


@pytest.mark.parametrize(("hu", "name"), [(-970, "emphysema"), (-1100, "emphysema"), (-600, "ground_glass")])
def test_a_region_gets_the_class_of_its_hu(tissues, hu, name):
    sick = case()
    where = np.s_[44:60, 16:40, 10:30]
    sick.image[0][where] = hu
    mask, measures = found(tissues, sick)
    assert (mask.array[where] == VALUES[name]).mean() > 0.98
    ml = np.prod(SPACING_MM) / 1000 * 16 * 24 * 20
    assert measures[f"left_lung_tissue_{name}_volume_ml"]["value"] == pytest.approx(ml, rel=0.02)
    assert measures[f"right_lung_tissue_{name}_volume_ml"]["value"] == 0


def test_a_consolidation_at_the_pleura_reaches_it(tissues):
    sick = case()
    where = np.s_[40:68, 4:24, 3:37]
    sick.image[0][where] = 30
    mask, _ = found(tissues, sick)
    assert (mask.array[where] == VALUES["dense"]).mean() > 0.95


def test_a_vessel_is_a_tube_and_a_tumour_is_none(tissues):
    sick = case()
    sick.image[0][14:17, 10:50, 18:20] = 30
    i, j, k = np.indices(sick.mask.array.shape) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    tumour = (i - 54 * 1.5) ** 2 + (j - 30 * 1.5) ** 2 + (k - 20 * 2.0) ** 2 < 11**2
    sick.image[0][tumour] = 30
    mask, measures = found(tissues, sick)
    assert (mask.array[14:17, 14:46, 18:20] == VALUES["vessel"]).all()
    assert (mask.array[tumour] == VALUES["dense"]).all()
    assert measures["left_lung_tissue_vessel_volume_ml"]["value"] == 0


def test_a_vessel_in_ground_glass_is_one(tissues):
    sick = case()
    sick.image[0][44:64, 8:50, 6:34] = -600
    sick.image[0][53:55, 12:46, 19:21] = 30
    mask, _ = found(tissues, sick)
    assert (mask.array[53:55, 16:42, 19:21] == VALUES["vessel"]).all()
    assert (mask.array[44:64, 8:50, 6:34] == VALUES["ground_glass"]).mean() > 0.9


def test_the_tissues_of_a_lung_add_up_to_it(tissues):
    noisy = case()
    noisy.image[0] += np.random.default_rng(0).normal(0, 120, noisy.image[0].shape)
    measured = measure_lungs(noisy)
    _, measures = tissues(noisy, measured)
    for lung in ("left_lung", "right_lung", "lungs"):
        own = {key: entry["value"] for key, entry in measures.items() if key.startswith(f"{lung}_tissue_")}
        volumes = [value for key, value in own.items() if key.endswith("_volume_ml")]
        assert len(volumes) == 5
        assert sum(volumes) == pytest.approx(measured[f"{lung}_volume_ml"]["value"])
        assert sum(own.values()) - sum(volumes) == pytest.approx(100)


def test_a_lung_that_the_image_cuts_has_shares_and_no_volumes(tissues):
    whole = case()
    mask = dataclasses.replace(whole.mask, array=whole.mask.array[..., :20])
    _, measures = found(tissues, dataclasses.replace(whole, mask=mask, image=whole.image[..., :20]))
    assert measures["left_lung_tissue_aerated_volume_ml"]["value"] is None
    assert "cuts the left lung" in measures["left_lung_tissue_aerated_volume_ml"]["reason"]
    assert measures["left_lung_tissue_aerated_percent"]["value"] == 100


def test_an_empty_mask_has_no_tissues(tissues):
    nothing = case()
    nothing.mask.array[:] = 0
    mask, measures = found(tissues, nothing)
    assert not mask.array.any()
    assert measures["lungs_tissue_vessel_percent"]["value"] is None
    assert measures["lungs_tissue_vessel_percent"]["reason"]


def test_any_order_of_the_axes_gives_the_same(tissues):
    sick = case()
    sick.image[0][14:17, 10:50, 18:20] = 30
    sick.image[0][44:60, 16:40, 10:30] = -600
    mask, _ = found(tissues, sick)
    order = (2, 0, 1)
    turned = dataclasses.replace(
        sick,
        mask=dataclasses.replace(
            sick.mask,
            array=sick.mask.array.transpose(order),
            affine=sick.mask.affine[:, [*order, 3]],
        ),
        image=sick.image.transpose(0, *(1 + axis for axis in order)),
    )
    other, _ = found(tissues, turned)
    assert (other.array == mask.array.transpose(order)).mean() > 0.999


@pytest.mark.parametrize(
    "limits",
    [{"emphysema": -1024}, {"emphysema": -950, "aerated": -950, "ground_glass": -700, "dense": -500}],
)
def test_limits_must_be_all_and_ascending(limits):
    with pytest.raises(UsageError, match="ascending limits"):
        LungTissues(limits, -750, [1.5], 25, 1.5, 3.0)


def test_tubularity_of_a_tube_a_plate_and_a_ball():
    i, j, k = np.indices((40, 40, 40)) - 20.0
    shapes = {
        "tube": (i**2 + j**2) / 8,
        "plate": i**2 / 8,
        "ball": (i**2 + j**2 + k**2) / 8,
    }
    where = np.ones((40, 40, 40), bool)
    values = {
        name: tubularity(100 * np.exp(-square), where, (1, 1, 1), [2.0])[20, 20, 20]
        for name, square in shapes.items()
    }
    # The Gaussian profile, smoothed with its own width: a quarter of the contrast.
    assert values["tube"] == pytest.approx(25, rel=0.15)
    assert values["plate"] == pytest.approx(0, abs=0.1)
    assert values["ball"] == pytest.approx(0, abs=0.1)
    assert tubularity(-100 * np.exp(-shapes["tube"]), where, (1, 1, 1), [2.0])[20, 20, 20] == 0
