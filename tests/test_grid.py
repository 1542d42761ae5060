"""A scan's voxels keep their places in the world, whatever their order, and labels come back to them."""

import itertools

import numpy as np
import pytest
import torch

from medseg.errors import UnsuitableError
from medseg.grid import plan, to_grid, to_source

SHAPE = (60, 50, 24)
SIZES_MM = (0.8, 0.9, 2.5)
ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def turned(angles_deg):
    """A rotation about x, then y, then z."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        first, second = (other for other in range(3) if other != axis)
        step = np.eye(3)
        step[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        rotation = step @ rotation
    return rotation


def affine_of(order, directions, rotation=None, shear=0.0):
    steps = np.zeros((3, 3))
    for axis, (world, direction) in enumerate(zip(order, directions, strict=True)):
        steps[world, axis] = direction * SIZES_MM[axis]
    steps[:, 2] += shear * SIZES_MM[2] * steps[:, 1] / SIZES_MM[1]
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) @ steps
    affine[:3, 3] = (-31.5, 12.25, 700)
    return affine


def world(shape, affine):
    return np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices(shape)) + affine[:3, 3][:, None, None, None]


def assert_in_place(affine):
    """A ramp over the world is the same ramp on the grid, and an egg's labels come back to its voxels."""
    grid = plan(SHAPE, affine, 1.5)
    places, grid_places = world(SHAPE, affine), world(grid.shape, grid.affine)

    def ramp(at):
        return 2000 + 3 * at[0] - 2 * at[1] + 0.5 * at[2]

    resampled = to_grid(torch.as_tensor(ramp(places))[None], grid)[0].numpy()
    assert resampled.shape == grid.shape
    indices = np.einsum(
        "ab,bijk->aijk", np.linalg.inv(affine[:3, :3]), grid_places - affine[:3, 3:, None, None]
    )
    inside = np.all([(indices[axis] > 2) & (indices[axis] < SHAPE[axis] - 3) for axis in range(3)], axis=0)
    assert inside.mean() > 0.3
    # The smoothing filter of torch is off by up to 0.07 voxels.
    assert np.abs(resampled - ramp(grid_places))[inside].max() < 0.3

    centre = places.reshape(3, -1).mean(axis=1)

    def egg(at):
        x, y, z = at - (centre + np.array([3, -2, 4]))[:, None, None, None]
        return (x / 8) ** 2 + (y / 12) ** 2 + (z / 14) ** 2 + (x > 2) < 1

    scores = np.stack([~egg(grid_places), egg(grid_places)]).astype(np.float32)
    labels = to_source(torch.as_tensor(scores), grid)
    assert labels.dtype == torch.uint8
    assert tuple(labels.shape) == (1, *SHAPE)
    found, truth = labels[0].numpy() > 0, egg(places)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


@pytest.mark.parametrize("order", ORDERS)
def test_all_48_orders(order):
    affine = affine_of(*order)
    assert_in_place(affine)
    grid = plan(SHAPE, affine, 1.5)
    steps = grid.affine[:3, :3]
    assert np.allclose(steps, np.diag(np.diag(steps)))
    assert np.diag(steps).min() > 1.3


@pytest.mark.parametrize("angles_deg", [(10, 0, 0), (0, -20, 0), (5, 8, 170), (30, 25, 15)])
def test_oblique(angles_deg):
    assert_in_place(affine_of((0, 1, 2), (-1, -1, 1), turned(angles_deg)))


@pytest.mark.parametrize("tilt_deg", [-25, 3, 20])
@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[3], ORDERS[21], ORDERS[45]])
def test_tilted(order, tilt_deg):
    affine = affine_of(*order, turned((4, 0, 6)), shear=np.tan(np.radians(tilt_deg)))
    assert_in_place(affine)
    steps = plan(SHAPE, affine, 1.5).affine[:3, :3]
    sizes = np.linalg.norm(steps, axis=0)
    assert np.allclose(steps.T @ steps, np.diag(sizes**2), atol=1e-6), "straightened"


def test_rows_and_columns_that_are_not_square():
    affine = affine_of((0, 1, 2), (1, 1, 1))
    affine[0, 1] = affine[0, 2] = affine[1, 2] = 0.3
    with pytest.raises(UnsuitableError, match="at right angles"):
        plan(SHAPE, affine, 1.5)


def test_integers_and_a_single_slice():
    grid = plan((7, 5, 1), np.eye(4), 2.0)
    resampled = to_grid(torch.full((1, 7, 5, 1), -1024, dtype=torch.int16), grid)
    assert resampled.dtype == torch.float32
    assert torch.allclose(resampled, torch.tensor(-1024.0))


def test_nothing_is_air_beside_a_shifted_slice():
    affine = affine_of((0, 1, 2), (1, 1, 1), shear=0.4)
    scan = torch.full((1, *SHAPE), 500, dtype=torch.int16)
    scan[0, 0, 0, 0] = -1000
    resampled = to_grid(scan, plan(SHAPE, affine, 1.5))
    assert torch.allclose(resampled[0, :, -1, 0], torch.tensor(-1000.0))
    assert torch.allclose(resampled[0, :, -4, -1], torch.tensor(500.0))


def test_labels_go_to_the_grid_with_their_image():
    """Each voxel of the grid has the label with the largest share of it, as the image's grid says."""
    from monai.data import MetaTensor

    from medseg.transforms import ToGridd

    affine = affine_of((0, 1, 2), (-1, -1, 1))
    labels = np.zeros((1, *SHAPE), np.float32)
    labels[0, 10:40, 10:30, 4:20], labels[0, 40:55, 10:30, 4:20] = 1, 3
    scan = MetaTensor(
        torch.as_tensor(labels * 100), meta={"source_affine": torch.as_tensor(affine), "source_shape": SHAPE}
    )
    data = ToGridd("image", 1.5, source_key=None, label_keys=["label"])({"image": scan, "label": labels})
    assert "source_image" not in data
    found, image = data["label"], data["image"]
    assert found.dtype == torch.uint8
    assert found.shape == image.shape
    assert np.allclose(found.affine, image.affine)
    assert set(found.unique().tolist()) == {0, 1, 3}
    # Where the image is flat, it says which label is there.
    for value in (0, 1, 3):
        flat = (image - 100 * value).abs() < 1
        assert (found[flat] == value).float().mean() > 0.99
    back = to_source(
        torch.nn.functional.one_hot(found[0].long(), 4).movedim(-1, 0).float(), plan(SHAPE, affine, 1.5)
    )
    assert (back.numpy() == labels).mean() > 0.98


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[3], ORDERS[21], ORDERS[45]])
@pytest.mark.parametrize("spacing_mm", [0.7, 1.5, 4.0])
def test_labels_are_those_of_all_scores_interpolated(order, dtype, spacing_mm):
    """In float32, whatever the scores' own type: mixing them at borders alone changes nothing."""
    grid = plan(SHAPE, affine_of(*order), spacing_mm)
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 5, 6, 6, 6, generator=random)
    scores = torch.nn.functional.interpolate(coarse, size=grid.shape, mode="trilinear")[0].to(dtype)
    scores = scores.contiguous() if spacing_mm > 1 else scores.permute(1, 2, 3, 0).contiguous().movedim(3, 0)
    size = np.array(SHAPE)[list(grid.axes)].tolist()
    everything = torch.nn.functional.interpolate(scores[None].float(), size=size, mode="trilinear")[0]
    expected = everything.argmax(0, keepdim=True)
    flips = [1 + axis for axis in range(3) if grid.flipped[axis]]
    expected = expected.flip(flips).permute(0, *(1 + int(axis) for axis in np.argsort(grid.axes)))
    found = to_source(scores, grid)
    assert found.unique().numel() == 5
    first, second = everything.topk(2, dim=0).values
    assert (found != expected).sum() <= (first - second < 1e-5).sum()
    assert (found == expected).float().mean() > 0.9999


def test_background_everywhere_stays_background():
    grid = plan(SHAPE, affine_of((0, 1, 2), (1, 1, 1)), 2.0)
    scores = torch.zeros(4, *grid.shape)
    scores[0] = 1
    labels = to_source(scores, grid)
    assert tuple(labels.shape) == (1, *SHAPE)
    assert not labels.any()


def test_a_spacing_for_each_axis():
    """In the order right, anterior, superior, whatever the order of the volume's axes."""
    affine = np.array([[0, 0, 1.0, 0], [2.0, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 0, 1]])  # i runs to the front
    grid = plan((30, 10, 60), affine, (2.0, 3.0, 5.0))
    assert grid.shape == (30, 20, 8)
    assert grid.spacing_mm == pytest.approx((2, 3, 5))
    scores = torch.zeros(2, *grid.shape)
    scores[1, :15] = 1
    labels = to_source(scores, grid)
    assert labels.shape == (1, 30, 10, 60)
    assert labels[0, :, :, :29].all()
    assert not labels[0, :, :, 31:].any()
