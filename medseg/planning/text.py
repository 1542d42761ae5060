"""A fingerprint and a proposal as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from medseg import console
from medseg.planning.figures import Triple
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import Plan

SOURCE = (
    "The rules are those of nnU-Net (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z), "
    "with a plain processor in the place of a graphics card."
)


def describe(fingerprint: Fingerprint, plan: Plan, width: int | None = None) -> str:
    """What was measured, and what is proposed for it.

    Args:
        fingerprint, plan: of a data set.
        width: of the tables, in characters; None for as wide as their texts are.
    """
    size = "volume in ml" if fingerprint.is_volume else "share of the picture"
    header = ("label", "cases", f"{size}, median (lowest to highest)", "components", "brighter")
    choices = [(choice.name, choice.value, choice.reason) for choice in plan.choices]
    parts = [
        console.table(figure_rows(fingerprint), width=width),
        console.table(class_rows(fingerprint), header, width=width),
        console.table(choices, ("", "proposed", "why"), width=width),
        "\n".join([*(f"warning: {text}" for text in fingerprint.warnings), SOURCE]),
    ]
    return "\n\n".join(parts)


def kind_of_image(fingerprint: Fingerprint) -> str:
    if fingerprint.is_volume:
        return f"{fingerprint.modality} volumes" if fingerprint.modality else "volumes"
    return "colour pictures" if fingerprint.channels == 3 else "grey pictures"


def figure_rows(f: Fingerprint) -> list[tuple[str, str]]:
    """Name and value of what was measured of the images."""
    split = ", ".join(f"{count} {name}" for name, count in f.items.items())
    unit = "voxels" if f.is_volume else "px"
    rows = [
        ("data set", " ".join(f"{f.name}: {f.description}".split())),
        ("cases", f"{f.cases} of {f.subjects} subjects ({split})"),
        ("images", f"{kind_of_image(f)}, {f.channels} channel{'s' if f.channels > 1 else ''}"),
        (
            "size" if f.one_size else "sizes",
            f"{_axes(f.shape, 0)} {unit}, {'all alike' if f.one_size else 'median'}",
        ),
    ]
    if not f.one_size:
        rows.append(
            ("smallest, largest", f"{_axes(f.shape, 0, 0)} and {_axes(f.shape, 0, 2)} {unit} along each axis")
        )
    if f.spacing_mm is None:
        rows.append(("spacing", f"the size of {'voxels' if f.is_volume else 'pixels'} is not known"))
    else:
        limits = f"{_axes(f.spacing_mm, 2, 0)} to {_axes(f.spacing_mm, 2, 2)}"
        rows.append(("spacing", f"{_axes(f.spacing_mm, 2)} mm, median ({limits})"))
        rows.append(("anisotropy", f"{f.anisotropy:.2g}"))
    names = ("red", "green", "blue") if f.channels == 3 else ("values",)
    for name, own in zip(names, f.foreground, strict=True):
        limits = f"0.5th to 99.5th percentile {own.low:.4g} to {own.high:.4g}"
        rows.append((f"{name} in the foreground", f"mean {own.mean:.4g}, std {own.std:.3g}, {limits}"))
    rows.append(("foreground", f"{_triple(f.foreground_share, '.2%')} of an image"))
    return [*rows, ("empty masks", str(f.empty_masks))]


def class_rows(f: Fingerprint) -> list[tuple[str, ...]]:
    """Of each label its name, cases, size, components, and how often it is brighter than the background."""
    rows: list[tuple[str, ...]] = []
    for figures in f.classes:
        size = _triple(figures.volume_ml, ".3g") if figures.volume_ml else _triple(figures.share, ".2%")
        ranks = ", ".join(f"{rank:.0%}" for rank in figures.brighter)
        rows.append((figures.name, str(figures.cases), size, _triple(figures.components, ".3g"), ranks))
    return rows


def _triple(values: Triple, form: str) -> str:
    low, middle, high = values
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _axes(values: Sequence[Triple], digits: int, part: int = 1) -> str:
    return " x ".join(f"{axis[part]:.{digits}f}" for axis in values)
