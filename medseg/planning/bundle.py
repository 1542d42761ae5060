"""A fingerprint and a proposal as a MONAI bundle: configuration alone, as the shipped ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.bundle.files import shipped_root, tasks
from medseg.data.manifests import read_manifest
from medseg.errors import UsageError
from medseg.io.atomic import require_folder
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import ANISOTROPIC, Plan
from medseg.planning.text import class_rows, figure_rows, kind_of_image

TEMPLATES = Path(__file__).parent / "templates"
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
NAME = re.compile(r"[a-z][a-z0-9_]*")
FILES = {
    **{
        f"configs/{name}": f"{name}.j2"
        for name in ("inference.yaml", "train.yaml", "evaluate.yaml", "multi_gpu_train.yaml", "logging.conf")
    },
    **{
        f"configs/methods/{name}": f"methods/{name}.j2"
        for name in ("residual_unet.yaml", "unet.yaml", "unet.train.yaml")
    },
    **{f"configs/search/{name}": f"search/{name}.j2" for name in ("residual_unet.yaml", "unet.yaml")},
    "docs/README.md": "README.md.j2",
    "docs/data_license.txt": "data_license.txt.j2",
}
UNTRAINED = ("threshold", "kmeans")


def check_name(name: str, output_dir: str | Path) -> Path:
    """The folder of a new bundle.

    Raises:
        UsageError: the name can't be that of a bundle, or is taken.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            "a name of small letters, digits and underscores, such as my_task_ct",
            got=name,
            advice="Choose another name: it is a folder, and a word of the command line.",
        )
    folder = Path(output_dir) / name
    if folder.exists():
        raise UsageError(
            "the name of a new bundle",
            got=f"{name}, and {folder} exists",
            advice="Choose another name, or remove that folder.",
        )
    if name in tasks():
        raise UsageError(
            "the name of a new bundle",
            got=f"{name}, which is the name of another task",
            advice="Choose another name: this one would hide that task.",
        )
    return folder


def write_bundle(
    name: str, fingerprint: Fingerprint, plan: Plan, manifest: str | Path, output_dir: str | Path
) -> Path:
    """Write a bundle, whole or not at all.

    Args:
        name: of the task, which becomes the name of its folder.
        fingerprint, plan: of the data set.
        manifest: as the training shall find it: a path, or the name of a shipped one.
        output_dir: the folder of bundles; medseg finds those in `bundles`.

    Returns:
        The folder of the bundle.

    Raises:
        UsageError: see check_name.
        OSError: it can't be written.
    """
    folder = check_name(name, output_dir)
    require_folder(folder.parent)
    unfinished = folder.with_name(f".{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for file, text in _texts(name, fingerprint, plan, manifest):
            (unfinished / file).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / file).write_text(text, encoding="utf-8")
        shutil.copy(next(shipped_root().glob("*/LICENSE")), unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _texts(
    name: str, fingerprint: Fingerprint, plan: Plan, manifest: str | Path
) -> Iterator[tuple[str, str]]:
    """Path in the bundle, and content."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    environment.filters |= {"yaml": as_yaml, "block": _block}
    values = _values(name, fingerprint, plan, manifest)
    methods = UNTRAINED if plan.order else ()
    templates = FILES | {f"configs/methods/{method}.yaml": f"methods/{method}.yaml.j2" for method in methods}
    for file, template in templates.items():
        yield file, environment.get_template(template).render(values).strip() + "\n"
    yield "configs/metadata.json", json.dumps(_metadata(fingerprint, plan, values), indent=4) + "\n"


def as_yaml(value: Any) -> str:
    """A value in one line of YAML."""
    import yaml

    if isinstance(value, float):
        value = round(value, 6)
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    """With lists in the place of tuples, which YAML has no plain form for."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _block(text: str, indent: int) -> str:
    """Lines of YAML below a key: all but the first, which stands where it is put, are moved to the right."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return f"\n{' ' * indent}".join(lines)


def _values(name: str, f: Fingerprint, p: Plan, manifest: str | Path) -> dict[str, Any]:
    """What the templates speak of."""
    names = [label for value, label in f.labels.items() if value]
    shown = ", ".join(label.replace("_", " ") for label in names)
    kind = kind_of_image(f)
    several = len(names) > 1
    is_ct = p.normalisation == "ct"
    where = (
        f"on a grid of {' x '.join(f'{step:g}' for step in p.spacing_mm)} mm"
        if p.spacing_mm
        else f"on squares of {p.size_px} px"
    )
    return {
        "f": f, "p": p, "name": name, "manifest": str(manifest), "content": read_manifest(manifest),
        "title": _one_line(f"{shown[:1].upper()}{shown[1:]} in {kind}"),
        "label_names": _one_line(shown), "kind": kind, "where": where,
        "label_values": ", ".join(f"{value} {label}" for value, label in f.labels.items()),
        "figures": figure_rows(f), "classes": class_rows(f),
        "example": as_yaml(_example(f, manifest)),
        "measure": "measure_volumes" if f.is_volume else "measure_areas",
        "score": "score_volume" if f.is_volume else "score_picture_labels" if several else "score_picture",
        "window": _window(f) if is_ct else None,
        "small": _small_ml(f) if f.is_volume else None,
        "cropped": f.is_volume or p.network.patch[0] != p.size_px,
        "patch": "patch_voxels" if f.is_volume else "patch_px",
        "ratios": [len(names), *[1] * len(names)],
        "rotations": _rotations(f, p),
        "region": "not_black" if p.normalisation == "nonzero" or not f.is_volume else "everywhere",
        "fixed": (f.threshold[0] - f.foreground[0].mean) / f.foreground[0].std if is_ct else None,
    }  # fmt: skip


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _example(f: Fingerprint, manifest: str | Path) -> str:
    """The expression of an image to begin with: one of the manifest."""
    split = next(split for split in ("test", "validation", "training") if f.items[split])
    return f"$load_items({str(manifest)!r}, {split!r})[0]['image']"


def _window(f: Fingerprint) -> dict[str, Any]:
    """A display window around the foreground's values, wide enough to see what lies around it."""
    low, high = f.foreground[0].low, f.foreground[0].high
    width = max(2.5 * (high - low), 350)
    return {
        "name": "Window of the data set",
        "centre": round((low + high) / 2),
        "width": round(width),
        "unit": "HU",
    }


def _small_ml(f: Fingerprint) -> dict[str, float]:
    """Half of the smallest component that the label may have, by the data set."""
    return {
        figures.name: float(f"{0.5 * figures.smallest_share * figures.volume_ml[0]:.2g}")
        for figures in f.classes
        if figures.volume_ml
    }


def _rotations(f: Fingerprint, p: Plan) -> list[float] | float:
    """Up to 30 degrees; with a flat patch within its slices alone, as in nnU-Net."""
    if not f.is_volume:
        return 0.5
    patch = p.network.patch
    if max(patch) <= ANISOTROPIC * min(patch):
        return [0.5, 0.5, 0.5]
    return [0.5 if axis == patch.index(min(patch)) else 0.0 for axis in range(3)]


def _metadata(f: Fingerprint, p: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {str(value): label for value, label in f.labels.items()}
    ct = p.normalisation == "ct"
    own = f.foreground[0]
    scaled = [round((own.low - own.mean) / own.std, 3), round((own.high - own.mean) / own.std, 3)]
    channels = ["red", "green", "blue"] if f.channels == 3 else ["HU, normalised" if ct else "normalised"]
    modality = f.modality or values["kind"]
    tensor = {
        "type": "image", "spatial_shape": list(p.network.patch), "dtype": "float32", "is_patch_data": True,
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "proposed by medseg; not trained yet"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"medseg": __version__},
        "name": values["title"],
        "task": values["title"],
        "description": f"{values['title']}, by a {f.dimensions}D residual UNet on the image's own grid.",
        "authors": "The authors of this bundle",
        "copyright": "Configuration: Apache-2.0. Data and weights: see docs/data_license.txt.",
        "intended_use": "Research. Not a medical device. Not yet trained on patients.",
        "data_source": _one_line(f"{f.name}: {f.description}"),
        "data_type": "dicom, nifti, nrrd, metaimage" if f.is_volume else "png, jpeg, tiff, dicom",
        "modality": modality,
        "image_classes": ", ".join(channels),
        "label_classes": f"single channel: {values['label_values']}",
        "pred_classes": f"{len(names)} channels of logits: {', '.join(names.values())}",
        "eval_metrics": {},
        "references": [
            "Isensee, F. et al. nnU-Net: a self-configuring method for deep learning-based biomedical image "
            "segmentation. Nature Methods 18, 203-211, 2021. doi:10.1038/s41592-020-01008-z"
        ],
        "network_data_format": {
            "inputs": {
                "image": tensor
                | {
                    "format": "hounsfield" if ct else "RGB" if f.channels == 3 else "magnitude",
                    "modality": modality,
                    "num_channels": f.channels,
                    "value_range": scaled if ct else [-10, 10],
                    "channel_def": {str(number): channel for number, channel in enumerate(channels)},
                }
            },
            "outputs": {
                "pred": tensor
                | {
                    "format": "segmentation",
                    "num_channels": len(names),
                    "value_range": [],
                    "channel_def": names,
                }
            },
        },
    }
