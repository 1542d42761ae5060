"""What is proposed for a data set, from its fingerprint, each value with its reason.

The rules are nnU-Net's (see medseg.planning); the reason says where a plain processor asks for another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medseg.planning.figures import ClassFigures
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.topology import Topology, coarser, largest_patch, topology

VOXELS, PIXELS = 96**3, 512**2  # of a patch
LOW_RESOLUTION = 0.25  # of the median image: a patch that covers less of it sees too little around it
LEAST_ACROSS = 8  # voxels across the smallest structure that a coarser grid must leave
ANISOTROPIC = 3.0  # nnU-Net's bound for spacings, and for sizes of patches
SIDE_PX, MOST_SIDE_PX, WINDOW_PX = 384, 1024, 384  # of pictures
LEAST_ACROSS_PX = 16  # pixels across the smallest structure
CROPPED = 0.25  # share of zeros above which nnU-Net takes statistics of the rest alone
CPU_ITERATIONS, GPU_ITERATIONS = 2_500, 25_000  # nnU-Net: 250,000 on a graphics card
EPOCH_ITERATIONS = 50
FOLDS = 5
TELLING = 0.2  # by which a label's order of brightness must differ from chance
SIDES = re.compile(r"(^|[^a-z])(left|right|l|r)([^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Choice:
    """A value that is proposed, as text, and the reason."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A proposal.

    Attributes:
        spacing_mm: of the grid along right, anterior and superior; None for pictures.
        size_px: side of the square of pictures; None for volumes.
        network: patch and halvings.
        strides, channels: of MONAI's UNet.
        batch_size: patches in a batch.
        normalisation: ct, image (each image by itself) or nonzero (without its zeros).
        mirrored: the axes that may be mirrored.
        repeats: patches of each case in an epoch.
        epochs: of a CPU, and of a GPU.
        fold: [0, n], where the manifest has no validation split; else None.
        order: lowest or highest, where brightness alone tells the only label from the background; else None.
        channel: the channel in which it does.
        single: the labels that are one connected component in each case.
        ranges: see medseg.quality.training_ranges.unlike_training.
        plausible: measurement to lowest and highest.
        choices: all of it for a reader.
    """

    spacing_mm: tuple[float, ...] | None
    size_px: int | None
    network: Topology
    strides: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...]
    batch_size: int
    normalisation: str
    mirrored: tuple[int, ...]
    repeats: int
    epochs: tuple[int, int]
    fold: tuple[int, int] | None
    order: str | None
    channel: int
    single: tuple[int, ...]
    ranges: Mapping[str, Any]
    plausible: Mapping[str, Any]
    choices: tuple[Choice, ...]

    def record(self) -> dict[str, Any]:
        """The proposal as a dictionary for JSON."""
        return asdict(self)


def propose(fingerprint: Fingerprint) -> Plan:
    """Propose grid, network and training for a data set."""
    place = _volume_place(fingerprint) if fingerprint.is_volume else _picture_place(fingerprint)
    spacing_mm, size_px, network, choices = place
    batch_size = _batch_size(network, fingerprint)
    # In pictures the first level has full resolution, as in nnU-Net; in volumes it is halved.
    strides = network.strides if fingerprint.is_volume else ((1, 1), *network.strides)
    deepest = len(strides)
    channels = Topology(network.patch, strides).channels[: deepest + 1]
    repeats, epochs = _epochs(fingerprint, batch_size)
    order, channel = _order(fingerprint)
    mirrored = _mirrored(fingerprint)
    fold = _fold(fingerprint)
    normalisation = _normalisation(fingerprint)
    choices += [
        Choice("batch", f"{batch_size}", "at least 2, as in nnU-Net; more where patches are small"),
        *_network_choices(fingerprint, network, channels),
        _normalisation_choice(normalisation, fingerprint),
        _mirror_choice(mirrored, fingerprint),
        Choice(
            "epochs", f"{epochs[0]} on a CPU, {epochs[1]} on a GPU",
            f"about {CPU_ITERATIONS:,} and {GPU_ITERATIONS:,} steps; nnU-Net takes 250,000 on a GPU. "
            f"Each case gives {repeats} patches an epoch",
        ),
        _split_choice(fold, fingerprint),
        _order_choice(order, channel, fingerprint),
    ]  # fmt: skip
    return Plan(
        spacing_mm, size_px, network, strides, channels, batch_size, normalisation, mirrored, repeats, epochs,
        fold, order, channel, _single(fingerprint), _ranges(fingerprint), _plausible(fingerprint),
        tuple(choices),
    )  # fmt: skip


Place = tuple["tuple[float, ...] | None", "int | None", Topology, list[Choice]]


def _volume_place(fingerprint: Fingerprint) -> Place:
    target, reason = _target_spacing(fingerprint)
    spacing: tuple[float, ...] = tuple(target)
    shape = _resampled(fingerprint, spacing)
    smallest = min(_across_mm(figures) for figures in fingerprint.classes)
    low = coarser(shape, spacing, VOXELS, LOW_RESOLUTION, max(max(spacing), smallest / LEAST_ACROSS))
    if low != spacing:
        reason += (
            f"; made coarser until a patch covers {LOW_RESOLUTION:.0%} of the median image (nnU-Net's low "
            f"resolution), or the smallest structure is {LEAST_ACROSS} voxels across"
        )
    spacing = tuple(round(step, 2) for step in low)
    network = largest_patch(_resampled(fingerprint, spacing), spacing, VOXELS)
    choices = [
        Choice("spacing", " x ".join(f"{step:g}" for step in spacing) + " mm", reason),
        Choice(
            "patch", " x ".join(map(str, network.patch)),
            f"as even in mm as the images allow, at most {VOXELS:,} voxels: a plain processor's limit, where "
            "nnU-Net has that of a graphics card",
        ),
    ]  # fmt: skip
    return spacing, None, network, choices


def _target_spacing(fingerprint: Fingerprint) -> tuple[list[float], str]:
    """The median spacing; along an axis of thick slices the 10th percentile, here the lowest."""
    known = fingerprint.spacing_mm or ((1.0, 1.0, 1.0),) * 3
    medians = [axis[1] for axis in known]
    shape = [axis[1] for axis in fingerprint.shape]
    worst = medians.index(max(medians))
    others = [axis for axis in range(3) if axis != worst]
    thick = medians[worst] > ANISOTROPIC * max(medians[axis] for axis in others)
    few = shape[worst] * ANISOTROPIC < min(shape[axis] for axis in others)
    if not (thick and few):
        return medians, "the median of the data set, as in nnU-Net"
    medians[worst] = max(known[worst][0], max(medians[axis] for axis in others))
    return medians, "the median; along the axis of thick slices the lowest, so that few slices are invented"


def _resampled(fingerprint: Fingerprint, spacing: Sequence[float]) -> list[float]:
    size_mm = fingerprint.median_size_mm or [axis[1] for axis in fingerprint.shape]
    return [max(1.0, size / step) for size, step in zip(size_mm, spacing, strict=True)]


def _across_mm(figures: ClassFigures) -> float:
    """The diameter of a ball of the label's median volume, one for each component."""
    volume_ml = (figures.volume_ml or (1.0,) * 3)[1] / max(figures.components[1], 1)
    return 2 * (3 * volume_ml * 1000 / (4 * math.pi)) ** (1 / 3)


def _picture_place(fingerprint: Fingerprint) -> Place:
    longer = max(axis[1] for axis in fingerprint.shape)
    area = math.prod(axis[1] for axis in fingerprint.shape)
    across = min(
        2 * math.sqrt(figures.share[1] * area / max(figures.components[1], 1) / math.pi)
        for figures in fingerprint.classes
    )
    needed = LEAST_ACROSS_PX / max(across, 1e-6) * longer
    side = min(longer, max(SIDE_PX, min(needed, MOST_SIDE_PX)))
    whole = topology([math.ceil(side)] * 2, (1, 1))
    size_px = whole.patch[0]
    network = whole if size_px <= WINDOW_PX * 1.2 else topology([WINDOW_PX] * 2, (1, 1))
    reason = f"the longer side, at most {SIDE_PX} px for a plain processor"
    if side > SIDE_PX:
        reason += f", or {MOST_SIDE_PX} where the smallest structure would not be {LEAST_ACROSS_PX} px across"
    windows = "the whole picture" if network.patch[0] == size_px else "windows of it"
    choices = [
        Choice("size", f"{size_px} px", f"{reason}; pictures of any shape are scaled into this square"),
        Choice("patch", " x ".join(map(str, network.patch)), windows),
    ]
    return None, size_px, network, choices


def _batch_size(network: Topology, fingerprint: Fingerprint) -> int:
    most = VOXELS if fingerprint.is_volume else 2 * PIXELS
    return max(2, min(8, most // math.prod(network.patch)))


def _network_choices(
    fingerprint: Fingerprint, network: Topology, channels: Sequence[int]
) -> Iterator[Choice]:
    halved = ", ".join("x".join(map(str, stride)) for stride in network.strides)
    yield Choice(
        "halvings", halved,
        "an axis is halved until it is shorter than 8, and a coarse one waits for the others, as in "
        "nnU-Net; kernels are 3 along each axis",
    )  # fmt: skip
    first = "the first level has half the resolution" if fingerprint.is_volume else "half of nnU-Net's width"
    yield Choice(
        "channels", ", ".join(map(str, channels)),
        f"doubled at each halving; {first}, for a plain processor",
    )  # fmt: skip


def _normalisation(fingerprint: Fingerprint) -> str:
    if fingerprint.modality == "CT" and fingerprint.is_volume:
        return "ct"
    return "nonzero" if fingerprint.is_volume and fingerprint.zeros > CROPPED else "image"


def _normalisation_choice(kind: str, fingerprint: Fingerprint) -> Choice:
    if kind == "ct":
        own = fingerprint.foreground[0]
        return Choice(
            "normalisation", f"{own.low:.0f} to {own.high:.0f} HU, std {own.std:.0f}",
            "CT: values have a meaning, so all images get the same: cut to the foreground's 0.5th and 99.5th "
            "percentile and divided by its standard deviation, as in nnU-Net; 0 is the lowest value instead "
            "of the mean, because images are padded with 0",
        )  # fmt: skip
    if kind == "nonzero":
        return Choice(
            "normalisation", "each image, without its zeros",
            f"no CT, and {fingerprint.zeros:.0%} of an image is 0: mean 0 and standard deviation 1 of "
            "the rest, as in nnU-Net",
        )  # fmt: skip
    each = "each image and channel" if fingerprint.channels > 1 else "each image"
    return Choice(
        "normalisation", each,
        "no CT, so values have no meaning of their own: mean 0 and standard deviation 1, as in nnU-Net",
    )  # fmt: skip


def _mirrored(fingerprint: Fingerprint) -> tuple[int, ...]:
    """All axes; with labels of one side not the axis from left to right."""
    axes = tuple(range(fingerprint.dimensions))
    across = 0 if fingerprint.is_volume else 1
    return tuple(axis for axis in axes if axis != across) if _has_sides(fingerprint) else axes


def _has_sides(fingerprint: Fingerprint) -> bool:
    return any(SIDES.search(name) for value, name in fingerprint.labels.items() if value)


def _mirror_choice(mirrored: Sequence[int], fingerprint: Fingerprint) -> Choice:
    names = ("x", "y", "z") if fingerprint.is_volume else ("up-down", "left-right")
    reason = "as in nnU-Net"
    if _has_sides(fingerprint):
        reason = "not from left to right: labels have sides, and a mirrored left organ looks like a right one"
    return Choice("mirroring", ", ".join(names[axis] for axis in mirrored), reason)


def _epochs(fingerprint: Fingerprint, batch_size: int) -> tuple[int, tuple[int, int]]:
    """Patches of each case in an epoch, and epochs of a CPU and a GPU."""
    cases = fingerprint.items["training"]
    if not fingerprint.items["validation"]:
        cases = max(1, cases * (FOLDS - 1) // FOLDS)
    repeats = max(1, math.ceil(EPOCH_ITERATIONS * batch_size / cases))
    steps = max(1, cases * repeats // batch_size)
    return repeats, (max(5, round(CPU_ITERATIONS / steps)), max(50, round(GPU_ITERATIONS / steps)))


def _fold(fingerprint: Fingerprint) -> tuple[int, int] | None:
    return None if fingerprint.items["validation"] else (0, min(FOLDS, fingerprint.subjects))


def _split_choice(fold: tuple[int, int] | None, fingerprint: Fingerprint) -> Choice:
    if fold is None:
        counts = ", ".join(f"{count} {split}" for split, count in fingerprint.items.items())
        return Choice("split", counts, "the manifest's own")
    return Choice(
        "split", f"fold {fold[0]} of {fold[1]}",
        f"the manifest has no validation split: one subject in {fold[1]} is held out. --folds {fold[1]} "
        "trains a network for each",
    )  # fmt: skip


def _order(fingerprint: Fingerprint) -> tuple[str | None, int]:
    """Whether the only label is the brightest or the darkest, and in which channel."""
    if len(fingerprint.labels) != 2:
        return None, 0
    ranks = fingerprint.classes[0].brighter
    channel = max(range(len(ranks)), key=lambda number: abs(ranks[number] - 0.5))
    if abs(ranks[channel] - 0.5) < TELLING:
        return None, channel
    return ("highest" if ranks[channel] > 0.5 else "lowest"), channel


def _order_choice(order: str | None, channel: int, fingerprint: Fingerprint) -> Choice:
    if len(fingerprint.labels) != 2:
        return Choice("untrained methods", "none", "brightness alone does not tell several labels apart")
    share = fingerprint.classes[0].brighter[channel]
    where = f" in channel {channel}" if fingerprint.channels > 1 else ""
    if order is None:
        reason = f"the label is as bright as the rest (brighter in {share:.0%} of pairs{where})"
        return Choice("untrained methods", "none", reason)
    than = "brighter" if order == "highest" else "darker"
    share = share if order == "highest" else 1 - share
    reason = f"the label is {than} than the rest in {share:.0%} of pairs{where}"
    return Choice("untrained methods", "threshold, kmeans", reason)


def _single(fingerprint: Fingerprint) -> tuple[int, ...]:
    """The labels that are one connected component in each case."""
    return tuple(figures.value for figures in fingerprint.classes if figures.components[2] == 1)


def _ranges(fingerprint: Fingerprint) -> dict[str, Any]:
    """Wider than in the data set by its middle spread of values, or by half for sizes."""
    low, _, high = (part[1] for part in fingerprint.brightness)
    more = 0.5 * (high - low)
    found: dict[str, Any] = {
        "brightness": [[_round(part[0] - more), _round(part[2] + more)] for part in fingerprint.brightness]
    }
    if fingerprint.is_volume and fingerprint.spacing_mm:
        found["spacing_mm"] = [[_round(axis[0] / 2), _round(axis[2] * 2)] for axis in fingerprint.spacing_mm]
    else:
        sides = [max(axis[part] for axis in fingerprint.shape) for part in (0, 2)]
        found["long_side_px"] = [[_round(sides[0] / 2), _round(sides[1] * 2)]]
    return found


def _plausible(fingerprint: Fingerprint) -> dict[str, Any]:
    """From half of the smallest to twice the largest in the data set, for labels that every case has."""
    found = {}
    for figures in fingerprint.classes:
        sizes, name = (
            (figures.volume_ml, "volume_ml") if figures.volume_ml else (figures.share, "area_fraction")
        )
        if figures.cases == fingerprint.cases:
            found[f"{figures.name}_{name}"] = [_round(sizes[0] / 2), _round(sizes[2] * 2)]
    return found


def _round(value: float) -> float:
    return float(f"{value:.3g}")
