"""Surface Dice and HD95 against brute force, MONAI and shapes with a known answer."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_surface_dice
from monai.metrics.utils import get_code_to_measure_table
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from medseg.errors import LabelError
from medseg.metrics import surface
from medseg.metrics.overlap import confusion
from medseg.metrics.surface import score_labels, surface_scores
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
SPACINGS_MM = [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 0.9, 1.3)]


def block(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def blobs(seed, shape=(14, 12, 13)):
    """Two masks of several smooth parts with holes; the second one is like the first."""
    rng = np.random.default_rng(seed)
    first, change = (gaussian_filter(rng.normal(size=shape), 2) for _ in range(2))
    return first > 0.02, first + 0.6 * change > 0.02


def brute_force(prediction, truth, spacing_mm, tolerance_mm):
    """By loops over corners and all pairs of distances; the areas are MONAI's."""
    table, kernel = get_code_to_measure_table(spacing_mm)
    points, areas = [], []
    for mask in (prediction, truth):
        padded = np.pad(mask, 1)
        found = {}
        for corner in np.ndindex(*(n + 1 for n in mask.shape)):
            around = padded[tuple(slice(n, n + 2) for n in corner)]
            if around.any() and not around.all():
                found[corner] = float(table[int((kernel[0, 0].numpy() * around).sum())])
        points.append(np.array(list(found)) * spacing_mm)
        areas.append(np.array(list(found.values())))
    pairs = cdist(*points)
    within, percentiles = 0.0, []
    for nearest, area in ((pairs.min(axis=1), areas[0]), (pairs.min(axis=0), areas[1])):
        within += area[nearest <= tolerance_mm].sum()
        order = np.argsort(nearest)
        reached = np.cumsum(area[order]) / area.sum()
        percentiles.append(nearest[order][np.argmax(reached >= 0.95)])
    return within / (areas[0].sum() + areas[1].sum()), max(percentiles)


class TestSurfaceScores:
    @pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
    @pytest.mark.parametrize("seed", [0, 1])
    def test_brute_force(self, seed, spacing_mm):
        expected = brute_force(*blobs(seed), spacing_mm, 1.2)
        assert 0.3 < expected[0] < 0.99
        assert expected[1] > 1
        assert surface_scores(*blobs(seed), spacing_mm, 1.2) == pytest.approx(expected, abs=1e-6)

    def test_pictures(self):
        masks = [mask[:, :, 6] for mask in blobs(2)]
        expected = brute_force(*masks, (0.7, 1.6), 0.8)
        assert 0.3 < expected[0] < 0.99
        assert surface_scores(*masks, (0.7, 1.6), 0.8) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
    def test_as_monai(self, spacing_mm):
        masks = blobs(3, (30, 28, 25))
        batches = [torch.as_tensor(mask)[None, None] for mask in masks]
        theirs = compute_surface_dice(
            *batches, [1.5], include_background=True, spacing=spacing_mm, use_subvoxels=True
        )
        assert surface_scores(*masks, spacing_mm, 1.5)[0] == pytest.approx(float(theirs), abs=1e-5)

    @pytest.mark.parametrize("few", [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)], ids=["many", "far", "tree"])
    def test_either_way_to_distances(self, few, monkeypatch):
        """Tree and distance transform, with elements farther away than the tree looks at first."""
        prediction, truth = (np.pad(mask, ((0, 30), (0, 0), (0, 0))) for mask in blobs(0))
        prediction[40:42, 3:5, 3:5] = True
        expected = brute_force(prediction, truth, (0.7, 0.7, 2.5), 1.0)
        monkeypatch.setattr(surface, "_FEW", few[0])
        monkeypatch.setattr(surface, "_FEW_FAR", few[1])
        assert surface_scores(prediction, truth, (0.7, 0.7, 2.5), 1.0) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(("axis", "mm"), [(0, 1.4), (1, 1.4), (2, 5.0)])
    def test_a_shifted_block(self, axis, mm):
        """By two voxels: HD95 is two voxels' length; a tolerance of just that is enough."""
        spacing_mm = (0.7, 0.7, 2.5)
        truth = block((40, 40, 40), (10, 25), (8, 30), (12, 22))
        moved = np.roll(truth, 2, axis)
        assert surface_scores(moved, truth, spacing_mm, mm) == (1.0, pytest.approx(mm))
        assert surface_scores(moved, truth, spacing_mm, mm - 0.01)[0] < 0.9

    def test_areas_count_not_voxels(self):
        """Of a block in thick slices whose top is wrong; to count its elements would give 0.57."""
        spacing_mm = (1.0, 1.0, 10.0)
        truth = block((80, 80, 12), (10, 70), (10, 70), (2, 6))
        taller = block((80, 80, 12), (10, 70), (10, 70), (2, 7))
        surface_dice, hd95_mm = surface_scores(taller, truth, spacing_mm, 0.5)
        areas_mm2 = [2 * 60 * 60 + 4 * 60 * height for height in (40, 50)]
        wrong_mm2 = 2 * 60 * 60 + 4 * 60 * 10
        assert surface_dice == pytest.approx(1 - wrong_mm2 / sum(areas_mm2), abs=0.04)
        assert hd95_mm == pytest.approx(10)

    @pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
    def test_spheres_of_one_centre(self, spacing_mm):
        """Radii that differ by 3 mm: about 3 mm between the surfaces everywhere."""
        axes = [(np.arange(n) - n / 2) * step for n, step in zip((60, 60, 40), spacing_mm, strict=True)]
        radius_mm = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
        small, large = radius_mm <= 15, radius_mm <= 18
        assert surface_scores(small, large, spacing_mm, 4.2) == (1.0, pytest.approx(3, abs=1.2))
        assert surface_scores(small, large, spacing_mm, 1.5)[0] < 0.1
        assert surface_scores(large, small, spacing_mm)[1] == surface_scores(small, large, spacing_mm)[1]

    def test_perfect(self):
        mask = blobs(0)[0]
        assert surface_scores(mask, mask.copy(), (1.0, 1.0, 1.0), 0.0) == (1.0, 0.0)

    def test_border_of_the_array(self):
        """What is cut off by the field of view has a surface there, in both."""
        whole = np.ones((6, 6, 6), bool)
        assert surface_scores(whole, whole, (1.0, 1.0, 1.0)) == (1.0, 0.0)
        surface_dice, hd95_mm = surface_scores(whole, block((6, 6, 6), (3, 6), (0, 6), (0, 6)), (2.0, 1, 1))
        assert surface_dice < 1
        assert hd95_mm == 6

    def test_empty(self):
        nothing, something = np.zeros((5, 5, 5), bool), block((5, 5, 5), (1, 3), (1, 3), (1, 3))
        assert surface_scores(nothing, nothing, (1.0, 1.0, 1.0)) == (1.0, None)
        assert surface_scores(nothing, something, (1.0, 1.0, 1.0)) == (0.0, None)
        assert surface_scores(something, nothing, (1.0, 1.0, 1.0)) == (0.0, None)

    def test_every_element_has_an_area(self):
        for spacing_mm in (*SPACINGS_MM, (0.7, 1.6)):
            table, _ = get_code_to_measure_table(spacing_mm)
            assert table[0] == table[-1] == 0
            assert (table[1:-1] > 0).all()

    @pytest.mark.parametrize(
        ("prediction", "truth", "spacing_mm"),
        [
            (np.zeros((4, 4, 4), bool), np.zeros((4, 4, 5), bool), (1, 1, 1)),
            (np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool), (1, 1)),
            (np.zeros((1, 4, 4, 4), bool), np.zeros((1, 4, 4, 4), bool), (1, 1, 1, 1)),
            (np.ones((4, 4, 4), np.int64), np.ones((4, 4, 4), bool), (1, 1, 1)),
        ],
        ids=["shape", "spacing", "channel", "labels"],
    )
    def test_refused(self, prediction, truth, spacing_mm):
        with pytest.raises(LabelError):
            surface_scores(prediction, truth, spacing_mm)


def chest():
    truth = np.zeros((30, 20, 16), np.uint8)
    truth[3:12, 3:17, 2:14] = 1
    truth[18:27, 3:17, 2:14] = 2
    truth[14:16, 9:11, 6:16] = 3
    return truth


GROUPS = {"lungs": ["left_lung", "right_lung"]}


def mask(array, labels=LABELS, spacing_mm=(1.0, 1.0, 1.0)):
    return Mask(array, labels, affine=np.diag([*spacing_mm, 1.0]))


def scored(prediction, truth, spacing_mm=(1.0, 1.0, 1.0), labels=LABELS, known=None, **more):
    """Of a prediction with `labels` and a reference with `known`, the same if none are given."""
    return score_labels(
        mask(prediction, labels, spacing_mm), mask(truth, known or labels, spacing_mm), **more
    )


class TestScoreLabels:
    def test_perfect(self):
        scores = scored(chest(), chest(), (1.0, 1.0, 2.0), groups=GROUPS)
        names = ["left_lung", "right_lung", "airway", "lungs"]
        assert list(scores) == ["mean", *names]
        assert scores["mean"] == {"dice": 1.0, "surface_dice": 1.0}
        for name in names:
            assert scores[name] == {"dice": 1.0, "surface_dice": 1.0, "hd95_mm": 0.0}
            assert list(scores[name]) == ["dice", "surface_dice", "hd95_mm"]

    def test_each_label(self):
        """As the masks of each label alone; the means are over labels, not groups."""
        prediction = np.roll(chest(), 1, axis=2)
        scores = scored(prediction, chest(), (1.0, 1.0, 3.0), groups=GROUPS)
        for name, values in {"left_lung": [1], "right_lung": [2], "airway": [3], "lungs": [1, 2]}.items():
            masks = [np.isin(array, values) for array in (prediction, chest())]
            assert scores[name]["dice"] == pytest.approx(confusion(*masks).dice)
            expected = surface_scores(*masks, (1.0, 1.0, 3.0))
            assert (scores[name]["surface_dice"], scores[name]["hd95_mm"]) == expected
        for kind in ("dice", "surface_dice"):
            parts = [scores[name][kind] for name in ("left_lung", "right_lung", "airway")]
            assert scores["mean"][kind] == pytest.approx(np.mean(parts))
            assert 0 < scores["mean"][kind] < 1

    def test_sides_exchanged(self):
        """Both lungs are found, neither is the right one."""
        exchanged = np.array([0, 2, 1, 3], np.uint8)[chest()]
        scores = scored(exchanged, chest(), groups=GROUPS)
        assert scores["left_lung"]["dice"] == scores["right_lung"]["dice"] == 0
        assert scores["left_lung"]["hd95_mm"] > 10
        assert scores["lungs"] == {"dice": 1.0, "surface_dice": 1.0, "hd95_mm": 0.0}
        assert scores["mean"]["dice"] == pytest.approx(1 / 3)

    def test_a_missed_label_stays_in_the_mean(self):
        prediction = chest()
        prediction[prediction == 3] = 0
        scores = scored(prediction, chest())
        assert scores["airway"] == {"dice": 0, "surface_dice": 0, "hd95_mm": None}
        assert scores["mean"]["dice"] == scores["mean"]["surface_dice"] == pytest.approx(2 / 3)

    def test_a_label_of_neither_is_not_in_the_mean(self):
        """An absent airway, agreed on, must not lift the mean of two bad lungs."""
        truth = np.where(chest() == 3, 0, chest())
        prediction = np.roll(truth, 4, axis=0)
        scores = scored(prediction, truth)
        assert (scores["airway"]["dice"], scores["airway"]["hd95_mm"]) == (1.0, None)
        lungs = [scores[name]["dice"] for name in ("left_lung", "right_lung")]
        assert scores["mean"]["dice"] == pytest.approx(np.mean(lungs))
        assert scores["mean"]["dice"] < 0.7

    def test_nothing_at_all(self):
        nothing = np.zeros((4, 4, 4), np.uint8)
        scores = scored(nothing, nothing)
        assert scores["mean"] == {"dice": 1.0, "surface_dice": 1.0}
        assert scores["left_lung"]["hd95_mm"] is None

    @pytest.mark.parametrize(
        ("known", "names"),
        [
            ({0: "background", 2: "right_lung"}, {"right_lung": [2]}),
            ({2: "right_lung"}, {"right_lung": [2]}),
            ({0: "background", 1: "left_lung", 2: "right_lung"}, {"left_lung": [1], "right_lung": [2]}),
        ],
    )
    def test_a_reference_of_some_labels(self, known, names):
        """The others are neither scored nor false alarms, nor in the mean; a group needs all its parts."""
        prediction = np.roll(chest(), 1, axis=0)
        prediction[0:2] = 3
        truth = np.where(np.isin(chest(), list(known)), chest(), 0).astype(np.uint8)
        scores = scored(prediction, truth, known=known, groups=GROUPS)
        assert list(scores) == ["mean", *names, *(["lungs"] if len(names) == 2 else [])]
        for name, values in names.items():
            assert scores[name]["dice"] == confusion(prediction == values[0], truth == values[0]).dice < 1
        assert scores["mean"]["dice"] == pytest.approx(np.mean([scores[name]["dice"] for name in names]))

    def test_several_values_of_one_name(self):
        """Thirds of a lung are one lung, and a type of the background is background."""
        parts = chest().astype(np.uint16)
        parts[3:6][parts[3:6] == 1] = 777
        parts[6:8][parts[6:8] == 1] = 10
        parts[0:2] = 768
        known = {0: "background", 1: "left_lung", 10: "left_lung", 777: "left_lung", 768: "background"}
        known |= {2: "right_lung", 3: "airway"}
        prediction = np.roll(chest(), 1, axis=1)
        scores = scored(prediction, parts, known=known, groups=GROUPS)
        assert scores == scored(prediction, chest(), groups=GROUPS)
        assert scored(chest(), parts, known=known)["mean"]["dice"] == 1

    def test_a_reference_of_a_group(self):
        """Both lungs as one label, which the prediction has for none of its own."""
        both = np.isin(chest(), (1, 2)).astype(np.uint8)
        prediction = np.roll(chest(), 1, axis=0)
        scores = scored(prediction, both, known={0: "background", 1: "lungs"}, groups=GROUPS)
        assert list(scores) == ["mean", "lungs"]
        expected = confusion(np.isin(prediction, (1, 2)), both).dice
        assert scores["lungs"]["dice"] == scores["mean"]["dice"] == expected < 1

    def test_names_that_the_prediction_does_not_know(self):
        with pytest.raises(LabelError, match="got vessel"):
            scored(chest(), chest(), known={0: "background", 1: "left_lung", 2: "vessel"})
        with pytest.raises(LabelError, match="got lungs"):
            scored(chest(), chest(), known={0: "background", 1: "lungs"})

    @pytest.mark.parametrize("groups", [{"lungs": ["left"]}, {"lungs": []}, {"airway": ["left_lung"]}])
    def test_impossible_groups(self, groups):
        with pytest.raises(LabelError):
            scored(chest(), chest(), groups=groups)

    def test_another_grid(self):
        with pytest.raises(LabelError):
            scored(chest()[1:], chest())

    def test_without_the_size_of_a_voxel(self):
        with pytest.raises(LabelError, match="the size of a voxel"):
            score_labels(Mask(chest(), LABELS), Mask(chest(), LABELS))

    def test_the_size_of_a_voxel_is_the_scans(self):
        """A reference without a size of its own is on the scan's grid."""
        moved = np.roll(chest(), 1, axis=2)
        for prediction, reference in (
            (mask(moved, spacing_mm=(1.0, 1.0, 3.0)), Mask(chest(), LABELS)),
            (Mask(moved, LABELS), mask(chest(), spacing_mm=(1.0, 1.0, 3.0))),
        ):
            assert score_labels(prediction, reference)["left_lung"]["hd95_mm"] == 3
