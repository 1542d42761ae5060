"""What goes to the network looks alike for every camera, and the answer finds its way back."""

from functools import cache

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, CopyItemsd
from PIL import Image
from scipy.ndimage import binary_erosion, gaussian_filter

from medseg import phantoms
from medseg.case import Finding, Origin
from medseg.errors import LabelError, UnreadableError, UnsuitableError
from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
    NormalizeFieldOfViewd,
    RandBlobsd,
    RandColourMixd,
    ResizeFieldOfViewd,
    RestoreFieldOfViewd,
)

LABELS = {0: "background", 1: "vessel"}
NETWORK_PX = 832


@cache
def _phantom(size_px):
    """Picture, vessels and field; shared, so to be left as they are."""
    return phantoms.fundus(size_px)


def _save(path, pixels):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return str(path)


def _meta(**more):
    return {"origin": Origin(), "filename_or_obj": "eye.png"} | more


def _item(picture, field, **more):
    """An item as FindFieldOfViewd leaves it, with the true field."""
    meta = _meta(
        source_shape=torch.tensor(field.shape), field_diameter_px=torch.tensor(0.92 * max(picture.shape))
    )
    image = MetaTensor(torch.as_tensor(picture.transpose(2, 0, 1).copy()), meta=meta)
    planes = {key: MetaTensor(torch.as_tensor(plane[None].astype(np.float32))) for key, plane in more.items()}
    seen = MetaTensor(torch.as_tensor(field[None].astype(np.uint8)))
    return {"image": image, "field_of_view": seen, "source_field_of_view": seen.clone(), **planes}


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


class TestLoadVolumed:
    @pytest.fixture
    def files(self, tmp_path):
        picture, vessels, _ = _phantom(300)
        return {
            "image": _save(tmp_path / "image.png", picture),
            "label": _save(tmp_path / "label.png", vessels * 255),
        }

    def test_image_and_label(self, files):
        picture, vessels, _ = _phantom(300)
        item = LoadVolumed("image", label_keys=["label", "label_2nd"], labels={"0": "b", "1": "v"})(files)
        assert set(item) == {"image", "label"}
        assert (item["image"].dtype, item["label"].dtype) == (torch.uint8, torch.float32)
        np.testing.assert_array_equal(item["image"], picture.transpose(2, 0, 1))
        np.testing.assert_array_equal(item["label"], vessels[None])
        meta = item["image"].meta
        assert meta["filename_or_obj"] == meta["origin"].source == files["image"]
        assert not meta["origin"].findings
        assert meta["source_shape"].tolist() == [300, 300]

    def test_grey_is_repeated_and_said_so(self, tmp_path):
        grey = _phantom(300)[0][..., 1]
        image = LoadVolumed("image")({"image": _save(tmp_path / "a.png", grey)})["image"]
        said = Finding("warning", "LoadVolumed", "the picture is grey: 3 colour channels were expected")
        assert image.meta["origin"].findings == (said,)
        np.testing.assert_array_equal(image, np.repeat(grey[None], 3, axis=0))
        alone = LoadVolumed("image", channels=1)({"image": _save(tmp_path / "a.png", grey)})["image"]
        assert not alone.meta["origin"].findings
        assert alone.shape[0] == 1

    def test_several_warnings_come_one_by_one(self, tmp_path):
        grey = np.repeat(_phantom(300)[0][..., 1:2], 2, axis=-1)
        image = LoadVolumed("image")({"image": _save(tmp_path / "a.png", grey)})["image"]
        alpha, colours = image.meta["origin"].texts("warning")
        assert "alpha" in alpha
        assert "grey" in colours

    def test_16_bits_stay(self, tmp_path):
        deep = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
        image = LoadVolumed("image", channels=1)({"image": _save(tmp_path / "a.png", deep)})["image"]
        assert image.dtype == torch.int32  # torch computes little on uint16
        np.testing.assert_array_equal(image[0], deep)

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_volume_is_no_photograph_and_the_reverse(self, tmp_path, files, name):
        nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / name)
        volume = {"image": str(tmp_path / name)}
        with pytest.raises(UnsuitableError, match=r"got a volume .* with 1 channel"):
            LoadVolumed("image")(volume)
        assert LoadVolumed("image", channels=1, spatial_dims=3)(volume)["image"].shape == (1, 4, 5, 6)
        with pytest.raises(UnsuitableError, match=r"got a picture .* with 3 channels"):
            LoadVolumed("image", channels=1, spatial_dims=3)(files)
        with pytest.raises(UnsuitableError, match=r"got a picture .* with 3 channels"):
            LoadVolumed("image", channels=1)(files)

    def test_label_of_another_size_or_with_unknown_values(self, tmp_path, files):
        load = LoadVolumed("image", label_keys=["label"], labels=LABELS)
        _, vessels, _ = _phantom(300)
        with pytest.raises(LabelError, match=r"size \(300, 300\).*\(300, 299\)"):
            load(files | {"label": _save(tmp_path / "cut.png", vessels[:, 1:])})
        with pytest.raises(LabelError, match=r"with \[7\]"):
            load(files | {"label": _save(tmp_path / "odd.png", vessels * 7)})

    def test_a_missing_file(self, files):
        with pytest.raises(UnreadableError, match="does not exist"):
            LoadVolumed("image")({"image": files["image"] + "x"})


class TestFindFieldd:
    def test_adds_field_diameter_and_warnings(self, tmp_path):
        picture, _, field = _phantom(300)
        find = Compose([LoadVolumed("image"), FindFieldOfViewd("image")])
        item = find({"image": _save(tmp_path / "a.png", picture)})
        assert (item["field_of_view"].shape, item["field_of_view"].dtype) == ((1, 300, 300), torch.uint8)
        assert _dice(np.asarray(item["field_of_view"][0]) > 0, field) > 0.99
        assert float(item["image"].meta["field_diameter_px"]) == pytest.approx(276, rel=0.02)
        assert not item["image"].meta["origin"].findings

    def test_keeps_the_warnings_of_the_reader(self, tmp_path):
        find = Compose([LoadVolumed("image"), FindFieldOfViewd("image")])
        item = find({"image": _save(tmp_path / "a.png", _phantom(300)[0][..., 1])})
        assert item["image"].meta["origin"].texts("warning") == [
            "the picture is grey: 3 colour channels were expected",
            "the picture's colours are not those of a retina (red most, blue least)",
        ]


CUTS = {
    "square": (np.s_[:], np.s_[:]),
    "cut at top and bottom": (np.s_[100:-101], np.s_[:]),
    "cut on one side": (np.s_[:], np.s_[:-133]),
    "odd": (np.s_[3:-4], np.s_[11:-2]),
}


class TestResizeAndRestore:
    @pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
    @pytest.mark.parametrize(("size_px", "diameter_px"), [(701, NETWORK_PX), (701, 500), (400, NETWORK_PX)])
    def test_there_and_back(self, cut, size_px, diameter_px):
        picture, vessels, field = (plane[cut] for plane in _phantom(size_px))
        smooth = gaussian_filter(vessels.astype(np.float32), 3) * field
        item = _item(picture, field, label=vessels, probability=smooth)
        item["image"].meta["field_diameter_px"] = torch.tensor(0.92 * size_px)
        there = ResizeFieldOfViewd(["image", "field_of_view", "label", "probability"], diameter_px)(item)
        assert {there[key].shape[1:] for key in ("image", "field_of_view", "label", "probability")} == {
            there["image"].shape[1:]
        }
        *_, height, width = there["image"].meta["field_box"].tolist()
        assert there["image"].shape[1] / height == pytest.approx(there["image"].shape[2] / width, rel=0.01)
        back = RestoreFieldOfViewd(["label", "probability"])(there)
        found = {key: np.asarray(back[key][0]) for key in ("label", "probability")}
        assert found["probability"].shape == field.shape
        assert not found["probability"][~field].any()
        assert not found["label"][~field].any()
        inner = binary_erosion(field, iterations=5)
        error = np.abs(found["probability"] - smooth)[inner]
        assert error.max() < 0.04
        assert error.mean() < 0.004
        assert _dice(found["label"] > 0.5, vessels > 0) >= 0.97

    @pytest.mark.parametrize("diameter_px", [300, NETWORK_PX])
    @pytest.mark.parametrize("pad", [(0, 0), (0, 401), (350, 20)])
    def test_the_field_gets_its_diameter(self, diameter_px, pad):
        picture, _, field = _phantom(701)
        picture = np.pad(picture, ((pad[0], 0), (0, pad[1]), (0, 0)))
        field = np.pad(field, ((pad[0], 0), (0, pad[1])))
        item = _item(picture, field)
        item["image"].meta["field_diameter_px"] = torch.tensor(0.92 * 701)
        small = np.asarray(
            ResizeFieldOfViewd(["image", "field_of_view"], diameter_px)(item)["field_of_view"][0]
        )
        for axis in (0, 1):
            # A row or column counts by the share of it that is in the field.
            assert small.max(axis=axis).sum() == pytest.approx(diameter_px, rel=0.01)
        assert 2 * np.sqrt(small.sum() / np.pi) == pytest.approx(diameter_px, rel=0.01)
        assert max(small.shape) == pytest.approx(1.04 * diameter_px, rel=0.01)

    def test_a_small_structure_comes_back_to_its_own_pixels(self):
        picture, _, field = (plane[37:, 20:] for plane in _phantom(701))
        spot = np.zeros(field.shape, np.float32)
        spot[300:309, 205:216] = 1
        item = _item(picture, field, label=spot)
        back = RestoreFieldOfViewd("label")(ResizeFieldOfViewd(["image", "label"], NETWORK_PX)(item))[
            "label"
        ][0]
        rows, columns = (np.arange(n) for n in spot.shape)
        mass = np.asarray(back)
        assert (mass.sum(axis=1) @ rows) / mass.sum() == pytest.approx(304, abs=0.2)
        assert (mass.sum(axis=0) @ columns) / mass.sum() == pytest.approx(210, abs=0.2)

    def test_a_structure_lies_where_the_box_and_the_scale_put_it(self):
        picture, _, field = _phantom(701)
        spot = np.zeros(field.shape, np.float32)
        spot[330:371, 60:71] = 1  # near the edge, where the ways to place pixel centres differ most
        there = ResizeFieldOfViewd(["image", "label"], 200)(_item(picture, field, label=spot))
        top, left, height, width = there["image"].meta["field_box"].tolist()
        mass = np.asarray(there["label"][0])
        rows, columns = (np.arange(n) + 0.5 for n in mass.shape)
        row, column = (mass.sum(axis=1) @ rows) / mass.sum(), (mass.sum(axis=0) @ columns) / mass.sum()
        assert row == pytest.approx((350.5 - top) * mass.shape[0] / height, abs=0.05)
        assert column == pytest.approx((65.5 - left) * mass.shape[1] / width, abs=0.05)

    def test_thin_lines_keep_their_weight_when_a_photograph_shrinks(self):
        picture, _, field = _phantom(701)
        lines = np.zeros(field.shape, np.float32)
        lines[:, 101:600:49] = 1
        there = ResizeFieldOfViewd(["image", "label"], 160)(_item(picture, field, label=lines))
        _, left, _, width = there["image"].meta["field_box"].tolist()
        row = np.asarray(there["label"][0, 80])
        scale = len(row) / width
        between = ((np.arange(101, 600, 49) + 25 - left) * scale).astype(int)
        np.testing.assert_allclose(np.diff(np.cumsum(row)[between]), scale, rtol=0.03)

    def test_leaves_its_input_alone(self):
        item = _item(*_phantom(400)[::2])
        before = {key: value.clone() for key, value in item.items()}
        ResizeFieldOfViewd(["image", "field_of_view"], 300)(item)
        assert "field_box" not in item["image"].meta
        for key, value in before.items():
            np.testing.assert_array_equal(item[key], value)


def _network_input(path, picture):
    steps = [
        LoadVolumed("image"),
        FindFieldOfViewd("image"),
        ResizeFieldOfViewd(["image", "field_of_view"], NETWORK_PX),
        NormalizeFieldOfViewd("image"),
    ]
    item = Compose(steps)({"image": _save(path, picture)})
    return np.asarray(item["image"]), np.asarray(item["field_of_view"][0]) > 0.5


@pytest.mark.parametrize("sizes", [(500, 1000), pytest.param((700, 3500), marks=pytest.mark.slow)])
def test_a_small_and_a_large_photograph_look_alike_to_the_network(tmp_path, sizes):
    inputs, fields = zip(*(_network_input(tmp_path / "a.png", _phantom(s)[0]) for s in sizes), strict=True)
    rows, columns = (min(field.shape[axis] for field in fields) for axis in (0, 1))
    both = binary_erosion(fields[0][:rows, :columns] & fields[1][:rows, :columns], iterations=10)
    first, second = (gaussian_filter(image[1, :rows, :columns], 1.0)[both] for image in inputs)
    assert np.corrcoef(first, second)[0, 1] >= 0.95


class TestNormalizeFieldd:
    def _level(self, picture, field, **options):
        item = {"image": MetaTensor(torch.as_tensor(picture), meta=_meta()), "field_of_view": field[None]}
        return np.asarray(NormalizeFieldOfViewd("image", **options)(item)["image"])

    @pytest.fixture
    def eye(self):
        picture, _, field = _phantom(400)
        return picture.transpose(2, 0, 1).astype(np.float32), field

    def test_level_in_the_field_and_zero_outside(self, eye):
        levelled = self._level(*eye)
        assert levelled.dtype == np.float32
        assert not levelled[:, ~eye[1]].any()
        means, spreads = levelled[:, eye[1]].mean(axis=1), levelled[:, eye[1]].std(axis=1)
        assert np.abs(means).max() < 0.1
        assert spreads.max() == pytest.approx(1, abs=0.05)
        assert spreads.min() > 0.5

    def test_slow_changes_of_light_go(self, eye):
        row, column = np.indices(eye[1].shape) / eye[1].shape[0]
        shaded = eye[0] + (60 * row + 30 * column).astype(np.float32)
        plain, level = self._level(*eye)[1], self._level(shaded, eye[1])[1]
        assert np.corrcoef(eye[0][1][eye[1]], shaded[1][eye[1]])[0, 1] < 0.85
        assert np.corrcoef(plain[eye[1]], level[eye[1]])[0, 1] > 0.97

    @pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (257, 0), (1, 40), (3, -20)])
    def test_gain_and_offset_change_nothing(self, eye, gain, offset):
        np.testing.assert_allclose(
            self._level(eye[0] * gain + offset, eye[1]), self._level(*eye), rtol=0, atol=2e-3
        )

    def test_whole_numbers_are_as_good(self, eye):
        whole = self._level(eye[0].astype(np.uint8), eye[1])
        np.testing.assert_allclose(whole, self._level(*eye), atol=1e-5)

    def test_what_lies_outside_the_field_does_not_matter(self, eye):
        bright = np.where(eye[1], eye[0], 255).astype(np.float32)
        np.testing.assert_allclose(self._level(bright, eye[1]), self._level(*eye), atol=1e-5)

    @pytest.mark.parametrize("noise", [0.0, 0.5])
    def test_a_flat_channel_is_not_blown_up(self, eye, noise):
        flat = eye[0].copy()
        flat[2] = 7 + np.random.default_rng(0).normal(0, noise, eye[1].shape)
        levelled = self._level(flat, eye[1])
        assert np.isfinite(levelled).all()
        assert levelled[2].std() < 0.3
        np.testing.assert_allclose(levelled[:2], self._level(*eye)[:2], atol=1e-5)

    def test_nothing_to_see_is_an_error(self, eye):
        """Rounding errors of a plain disc are not to be blown up to a picture."""
        discs = (np.array([v, 60.3, 20.7], np.float32)[:, None, None] * eye[1] for v in (200.1, 0, 7e6, 1e-3))
        for picture in (*discs, np.full_like(eye[0], 80), np.full_like(eye[0], np.nan)):
            with pytest.raises(UnsuitableError, match="contrast"):
                self._level(picture, eye[1])
        faint = 100 + np.random.default_rng(0).normal(0, 0.1, eye[0].shape).astype(np.float32)
        assert self._level(faint, eye[1])[:, eye[1]].std() == pytest.approx(1, abs=0.05)
        with pytest.raises(UnsuitableError, match="contrast"):
            self._level(eye[0], np.zeros_like(eye[1]))


RANDOM = {
    "lesions": lambda prob: RandBlobsd("image", prob=prob),
    "colours": lambda prob: RandColourMixd("image", prob=prob, grey=0.0),
    "grey": lambda prob: RandColourMixd("image", prob=prob, grey=1.0),
}


@pytest.mark.parametrize("name", RANDOM)
class TestRandom:
    def _item(self):
        random = np.random.default_rng(0)
        image = torch.as_tensor(random.normal(size=(3, 64, 96)).astype(np.float32))
        label = torch.as_tensor(random.integers(0, 2, (1, 64, 96)).astype(np.float32))
        return {"image": MetaTensor(image, meta=_meta()), "label": MetaTensor(label)}

    def _run(self, name, seed, prob=1.0):
        return RANDOM[name](prob).set_random_state(seed)(self._item())

    def test_the_same_seed_gives_the_same(self, name):
        first, again, other = (self._run(name, seed)["image"] for seed in (4, 4, 5))
        np.testing.assert_array_equal(first, again)
        assert not torch.equal(first, other)

    def test_each_call_gives_another(self, name):
        transform = RANDOM[name](1.0).set_random_state(4)
        assert not torch.equal(transform(self._item())["image"], transform(self._item())["image"])

    def test_prob_is_the_share_of_changed_images(self, name):
        before = self._item()["image"]
        transform = RANDOM[name](0.3).set_random_state(4)
        changed = [not torch.equal(transform(self._item())["image"], before) for _ in range(100)]
        assert 15 <= sum(changed) <= 45
        never = RANDOM[name](0.0).set_random_state(4)
        assert all(torch.equal(never(self._item())["image"], before) for _ in range(20))

    def test_shape_type_and_meta_stay_and_the_label_too(self, name):
        before, source = self._item(), self._item()
        after = RANDOM[name](1.0).set_random_state(4)(source)
        assert isinstance(after["image"], MetaTensor)
        assert (after["image"].shape, after["image"].dtype) == ((3, 64, 96), torch.float32)
        assert after["image"].meta["filename_or_obj"] == "eye.png"
        assert torch.isfinite(after["image"]).all()
        np.testing.assert_array_equal(after["label"], before["label"])
        np.testing.assert_array_equal(source["image"], before["image"])


def test_grey_mix_makes_the_channels_equal():
    image = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 8, 9)).astype(np.float32))
    item = {"image": MetaTensor(image, meta=_meta())}
    mixed = RandColourMixd("image", prob=1.0, grey=1.0).set_random_state(0)(item)["image"]
    np.testing.assert_allclose(mixed[0], mixed[2], atol=1e-6)
    assert float(mixed.max()) <= float(image.max())


def test_lesions_are_blobs_of_one_sign_and_bounded_strength():
    item = {"image": MetaTensor(torch.zeros(3, 200, 200), meta=_meta())}
    lesions = RandBlobsd("image", prob=1.0, most=1, radius_px=(5, 8), strength=2.0)
    areas = []
    for seed in range(20):
        blob = np.asarray(lesions.set_random_state(seed)(item)["image"])
        assert blob.min() >= 0 or blob.max() <= 0
        assert 0 < np.abs(blob).max() <= 2.0
        areas.append((np.abs(blob[0]) > np.abs(blob[0]).max() / 2).sum())
    assert 60 < np.median(areas) < 260


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_items_of_two_sizes_pass_the_loader_as_the_evaluator_uses_it(tmp_path, num_workers):
    preprocessing = Compose(
        [
            LoadVolumed("image", label_keys=["label"], labels=LABELS),
            FindFieldOfViewd("image"),
            CopyItemsd("field_of_view", names="source_field_of_view"),
            ResizeFieldOfViewd(["image", "field_of_view"], 300),
            NormalizeFieldOfViewd("image"),
        ]
    )
    items = []
    for size_px, crop in ((300, np.s_[:]), (401, np.s_[60:-50])):
        picture, vessels, _ = (plane[crop] for plane in _phantom(size_px))
        shown = picture if size_px == 300 else picture[..., 1]
        image = _save(tmp_path / f"{size_px}.png", shown)
        items.append({"image": image, "label": _save(tmp_path / f"{size_px}_v.png", vessels), "subject": "s"})
    loader = DataLoader(Dataset(items, preprocessing), batch_size=1, num_workers=num_workers)
    shapes, warnings = [], []
    for batch, item in zip(loader, items, strict=True):
        pred = torch.sigmoid(batch["image"][:, 1:2])
        (single,) = decollate_batch({**batch, "pred": pred})
        restored = RestoreFieldOfViewd("pred")(single)
        assert single["image"].meta["filename_or_obj"] == item["image"]
        assert single["subject"] == "s"
        assert restored["pred"].shape == single["label"].shape == single["source_field_of_view"].shape
        assert not restored["pred"][single["source_field_of_view"] == 0].any()
        shapes.append(tuple(restored["pred"].shape))
        warnings.append(single["image"].meta["origin"].texts("warning"))
    assert shapes == [(1, 300, 300), (1, 291, 401)]
    assert [len(lines) for lines in warnings] == [0, 2]


# --- images in memory, as MONAI Deploy gives them ---


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_whose_last_axis_is_its_colours(channels):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, channels), np.uint8)
    image = MetaTensor(torch.as_tensor(pixels), meta={"original_channel_dim": "no_channel"})
    found = LoadVolumed("image", channels=channels)({"image": image})["image"]
    assert np.array_equal(found.numpy(), np.moveaxis(pixels, -1, 0))


def test_a_picture_to_which_monai_has_added_an_axis():
    image = MetaTensor(torch.rand(1, 20, 30), meta={"original_channel_dim": "no_channel"})
    assert torch.equal(LoadVolumed("image", channels=1)({"image": image})["image"], image)


def test_a_picture_with_its_channels_last():
    with pytest.raises(UnsuitableError, match="Put the channels first"):
        LoadVolumed("image")({"image": np.zeros((20, 30, 3), np.uint8)})


def test_a_volume_without_an_affine():
    with pytest.raises(UnsuitableError, match="a volume with an affine"):
        LoadVolumed("image", channels=1, spatial_dims=3)({"image": np.zeros((8, 9, 10), np.int16)})
