"""Pictures for the pages of docs/ladder: what a method, a filter or a feature makes of an example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw

import medseg
from medseg import phantoms
from medseg.bundle import method_names, open_bundle, read_method
from medseg.methods.features import FeatureStack
from medseg.morphology import largest
from medseg.pipeline import Segmenter
from medseg.transforms import AnisotropicDiffusiond, GaussianFilterd, LocalEqualizationd, MedianFilterd

PAGES = Path(__file__).parent / "ladder"
PHOTOGRAPH = Path(skimage.__file__).parent / "data" / "retina.jpg"
# The part of each task's example that is shown.
SHOWN = {
    "retinal_vessel": (slice(300, 900), slice(250, 850)),
    "breast_ultrasound": (slice(None), slice(None)),
}
PANEL_PX = 320
# The cluster that lesions are in, before one component of it is chosen.
DARKEST = {
    "_target_": "medseg.methods.target.Target",
    "feature": "local_contrast@4",
    "order": "lowest",
}
FEATURES = ("gaussian@4", "gradient@2", "dark_vesselness@3", "canny@2", "entropy@5", "local_std@5")


def make_ladder(pictures: Path, folder: Path) -> None:
    """Write ladder_<page>.jpg for each page; `folder` is for what is made on the way."""
    sources = {"retinal_vessel": PHOTOGRAPH, "breast_ultrasound": phantoms.example_ultrasound(folder)}
    methods: dict[str, str] = {}
    for task in sources:
        for name in method_names(open_bundle(task)):
            method = read_method(open_bundle(task), name)
            if (PAGES / f"{name}.md").is_file() and (method.weights is None or method.is_trained):
                methods.setdefault(name, task)
    for name, task in methods.items():
        _save(_method(name, task, sources[task]), pictures / f"ladder_{name}.jpg")
    _save(_one_component(sources["breast_ultrasound"]), pictures / "ladder_morphology.jpg")
    _save(_features(), pictures / "ladder_features.jpg")
    _save(_filters(), pictures / "ladder_preprocessing.jpg")
    _save(_carried(folder), pictures / "ladder_optical_flow.jpg")


def _method(name: str, task: str, source: Path) -> Image.Image:
    """A part of the image, the probability there, and the mask."""
    case = Segmenter(task, "cpu", method=name).case(source)
    part = SHOWN[task]
    image = np.moveaxis(case.image[:3], 0, -1)[part]
    return _row([image, 255 * case.extras["probability"][part], 255 * (case.mask.array[part] > 0)])


def _one_component(source: Path) -> Image.Image:
    """A picture, its darkest cluster, and the component of it that is kept."""
    both = []
    for overrides in ({"network_def::target": DARKEST}, {}):
        case = Segmenter("breast_ultrasound", "cpu", overrides, method="kmeans").case(source)
        both.append(255 * (case.extras["probability"] > 0.5))
    return _row([np.moveaxis(case.image[:3], 0, -1), *both])


def _features() -> Image.Image:
    """Features of a part of the photograph."""
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((832, 832)))
    channels = np.moveaxis(photograph, -1, 0).astype(np.float32) / 255
    found = FeatureStack(FEATURES, grey=1)(channels, np.ones(channels.shape[1:], dtype=bool))
    part = (slice(177, 531), slice(147, 501))
    shown = [_stretched(values[part]) for values in found]
    rows = [_row(shown[:3], FEATURES[:3]), _row(shown[3:], FEATURES[3:])]
    return Image.fromarray(np.concatenate([np.asarray(row) for row in rows]))


def _filters() -> Image.Image:
    """A part of the photograph with noise, and what four filters make of it."""
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[SHOWN["retinal_vessel"]][:300, :300]
    green = photograph[None, :, :, 1].astype(np.float32) / 255
    noisy = (green + np.random.default_rng(0).normal(0, 0.03, green.shape)).astype(np.float32)
    filters = {
        "noise": None,
        "Gaussian": GaussianFilterd(keys="image", sigma=1.5),
        "median": MedianFilterd(keys="image", radius=2),
        "anisotropic diffusion": AnisotropicDiffusiond(keys="image"),
        "local equalization": LocalEqualizationd(keys="image"),
    }
    shown = [
        noisy if each is None else np.asarray(each({"image": noisy})["image"]) for each in filters.values()
    ]
    return _row([_stretched(values[0]) for values in shown], list(filters), width=220)


def _carried(folder: Path) -> Image.Image:
    """A lung drawn on one slice of a synthetic chest, on slices further up and down."""
    source = phantoms.example_ct(folder)
    lungs = medseg.segment(source, task="lung_ct", device="cpu")
    drawn = np.where(lungs.mask.array == 1, 1, 0).astype(np.uint8)
    middle = int(np.median(np.nonzero(drawn)[2]))
    only = np.zeros_like(drawn)
    only[..., middle] = largest(drawn[..., [middle]] > 0)[..., 0]
    mask = folder / "drawn.nii.gz"
    medseg.io.write_mask(medseg.Mask(only, {0: "background", 1: "object"}, affine=lungs.mask.affine), mask)
    result = medseg.propagate(source, mask)
    top = np.nonzero(result.mask.array)[2]
    planes = np.linspace(top.min() + 2, top.max() - 2, 5).round().astype(int)
    shown = []
    for plane in planes:
        image = np.clip((result.image[0, :, :, plane].T[::-1] + 1350) / 1500, 0, 1) * 255
        picture = np.repeat(image[..., None], 3, axis=2)
        outline = result.mask.array[:, :, plane].T[::-1] > 0
        picture[outline] = 0.6 * picture[outline] + 0.4 * np.array([60, 140, 255])
        shown.append(picture)
    titles = [f"{(plane - middle) * abs(lungs.mask.affine[2, 2]):+.0f} mm" for plane in planes]
    return _row(shown, titles, width=220)


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (1, 99))
    return 255 * np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _row(panels: Sequence[np.ndarray], titles: Sequence[str] = (), width: int = PANEL_PX) -> Image.Image:
    """Pictures (row, column) or (row, column, 3) from 0 to 255, side by side."""
    size = (width, round(width * panels[0].shape[0] / panels[0].shape[1]))
    row = Image.new("RGB", (width * len(panels), size[1]))
    for number, panel in enumerate(panels):
        picture = Image.fromarray(np.asarray(panel).squeeze().astype(np.uint8)).convert("RGB")
        row.paste(picture.resize(size, Image.Resampling.LANCZOS), (number * width, 0))
    draw = ImageDraw.Draw(row)
    for number, title in enumerate(titles):
        draw.text((number * width + 6, 4), title, fill="white", stroke_width=2, stroke_fill="black")
    return row


def _save(picture: Image.Image, file: Path) -> None:
    picture.save(file, quality=85, optimize=True)
