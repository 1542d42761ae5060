"""The predicted Dice of a mask, its interval, and what lowered it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from medseg.case import Case
from medseg.errors import BundleError, UsageError
from medseg.quality.prediction import novelty, regression
from medseg.quality.prediction.signals import (
    SOFTMAX,
    OwnSignals,
    Signals,
    case_signals,
    label_signals,
    look_signals,
    mask_signals,
)

FORMAT = 1
FAR = 99.0  # percentile of the distance from which an image is called unlike the training images
NO_PREDICTOR = "no predictor was fitted for this method"
LOW = 0.7  # predicted Dice below which it is told what lowered it
# Signals from 0 to 1 that tell nothing bad where they are high.
SHARES = ("mirrored", "soft", "peak", "lesion_probability")
OF_WHAT_IS_DRAWN = ("share", "pieces", "contrast", "roughness", "volume", "height", "hull", "density")
LEAST_LOSS = 0.03  # of Dice: a smaller loss by one signal is not told
# What a signal that lowers the prediction says; {label} and {value} are put in.
MEANING = {
    "mirrored": "the network gives another {label} for the mirror image (Dice {value:.2f} between both)",
    "soft": "the network is less sure of the {label} than usual",
    "entropy": "the border of the {label} is uncertain",
    "peak": "no part of the {label} is found with certainty (probability {value:.2f})",
    "sure": "the network calls an unusual part of the image {label}",
    "empty": "the {label} is empty",
    "share": "the {label} has an unusual size",
    "pieces": "the {label} is in an unusual number of pieces",
    "contrast": "the {label} does not stand out as usual from what is around it",
    "roughness": "the outline of the {label} has an unusual shape",
    "detail": "the image has another sharpness than those learnt from",
    "noise": "the image has another noise than those learnt from",
    "brightness": "the image has another brightness than those learnt from",
    "size": "the image has an unusual size",
    "implausible": "measurements are implausible",
    "novelty": "the image is rather far from the training images",
    "fill": "the {label} fills an unusual part of its side of the rib cage",
    "hull": "the {label} has dents that a lung seldom has",
    "balance": "left and right differ in size more than usual",
    "density": "the {label} has an unusual density",
    "rim": "the tissue beside the {label} is as dense as consolidated lung or fluid",
    "height": "the {label} has an unusual height",
    "volume": "the {label} has an unusual volume",
    "sides": "left and right lung are less alike than usual",
    "top": "the scan begins in an unusual place of the lungs",
    "bottom": "the scan ends in an unusual place of the lungs",
    "reach": "the lungs fill an unusual part of the scan's slices",
    "slab": "the scan has an unusual height",
    "width": "the body in the scan has an unusual width",
}
Dice = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is predicted of one case.

    Attributes:
        dice: label to {"value", "interval": [low, high]}.
        novelty: {"distance", "percentile"} of the image among the training images; None without features.
        reasons: sentences: what lowered the prediction, and whether the image is unlike those learnt from.
        is_rejected: whether a label's predicted Dice is below the least that is accepted.
    """

    dice: Dice
    novelty: dict[str, float] | None
    reasons: list[str]
    is_rejected: bool


class DicePredictor:
    """Predicts the Dice of masks that one method makes with one set of weights.

    Args:
        file: the arrays, as `save` writes them.
        sha256: of the file; None takes any. Where there is no file, nothing is predicted.
        observer: the inferer whose `last` is what it did with the image; None for a method without a network.
        outputs: sigmoid or softmax; see medseg.quality.prediction.signals.
        least: label to the predicted Dice below which a mask is rejected; other labels never are.
        own: further signals of this kind of image.

    Raises:
        BundleError: the file is damaged, or not the pinned one.
        UsageError: a Dice in `least` is not from 0 to 1.
    """

    def __init__(
        self,
        file: str | Path,
        sha256: str | None = None,
        observer: Any = None,
        outputs: str = SOFTMAX,
        least: Mapping[str, float] | None = None,
        own: OwnSignals | None = None,
    ) -> None:
        self.fitted = load(file, sha256) if Path(file).is_file() else None
        wrong = {label: dice for label, dice in (least or {}).items() if not 0 <= dice <= 1}
        if wrong:
            raise UsageError(
                "a Dice from 0 to 1 for each label in `least`", got=str(wrong), advice="Set it so."
            )
        self.observer, self.outputs, self.least, self.own = observer, outputs, dict(least or {}), own

    def signals(
        self, case: Case, measurements: Mapping[str, Any], plausible: Mapping[str, Sequence[float]]
    ) -> dict[str, Signals]:
        """Label to its signals, those of the whole case among them; `novelty` is not among them yet."""
        observed = None if self.observer is None else self.observer.last
        whole = look_signals(case) | case_signals(case, measurements, plausible)
        own = {} if self.own is None else self.own(case)
        return {
            name: {
                **label_signals(observed, value, self.outputs),
                **mask_signals(case, value),
                **own.get(name, {}),
                **whole,
            }
            for value, name in case.mask.labels.items()
            if value
        }

    def features(self) -> np.ndarray | None:
        """(D,) the network's features of the last image; None where there are none."""
        return None if self.observer is None or self.observer.last is None else self.observer.last.features

    def unfit(self, method: str, weights_sha256: Any, settings: Mapping[str, Any]) -> str | None:
        """Why nothing can be predicted for a method, its weights and settings; None if it can."""
        if self.fitted is None:
            return NO_PREDICTOR
        if method != self.fitted.about["method"]:
            return f"the predictor was fitted for {self.fitted.about['method']}, not for {method}"
        if weights_sha256 != self.fitted.about["weights_sha256"]:
            return "the predictor was fitted for other weights"
        changing = [key for key in settings if not key.startswith("result::")]
        if changing:
            return f"the predictor was fitted for the bundle's own settings, not for {', '.join(changing)}"
        return None

    def __call__(
        self, case: Case, measurements: Mapping[str, Any], plausible: Mapping[str, Sequence[float]]
    ) -> Prediction:
        """Predict the Dice of each label of a case that was just segmented."""
        if self.fitted is None:
            raise BundleError(
                "a fitted predictor",
                got="none",
                advice="Fit one by `medseg fit-quality`, which needs real cases.",
            )
        found = self.signals(case, measurements, plausible)
        return self.fitted.predict(found, self.features(), self.least)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted predictor.

    Attributes:
        about: method, weights_sha256, labels, names (of the signals, by label), figures of the fit.
        arrays: `<label>/<array>` of the regression, `usual` signals of good masks; `novelty/<array>`;
            `reference/<measure>` of the training images.
    """

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def part(self, name: str) -> dict[str, np.ndarray]:
        """The arrays below a name."""
        begin = f"{name}/"
        return {key.removeprefix(begin): array for key, array in self.arrays.items() if key.startswith(begin)}

    def novelty(self, features: np.ndarray | None) -> dict[str, float] | None:
        """Distance and percentile of an image's features."""
        known = self.part("novelty")
        if features is None or not known or features.shape != known["mean"].shape:
            return None
        found = float(novelty.distance(known, features[None])[0])
        return {"distance": found, "percentile": novelty.percentile(known, found)}

    def predict(
        self, signals: Mapping[str, Signals], features: np.ndarray | None, least: Mapping[str, float]
    ) -> Prediction:
        """The prediction for one case."""
        new = self.novelty(features)
        dice: Dice = {}
        reasons: list[str] = []
        rejected = False
        if new is not None and new["percentile"] >= FAR:
            reasons.append(
                f"the image is unlike the training images: further from them than {new['percentile']:.1f}% "
                "of images of their kind"
            )
        for label in self.about["labels"]:
            found = signals[label] | ({} if new is None else {"novelty": relative(self.part("novelty"), new)})
            row, value, ends = self._predicted(label, found)
            dice[label] = {"value": round(value, 3), "interval": [round(end, 3) for end in ends]}
            if value < least.get(label, 0):
                rejected = True
                reasons.append(
                    f"the predicted Dice of the {label.replace('_', ' ')} is {_two_digits(value)} "
                    f"({_two_digits(ends[0])} to {_two_digits(ends[1])}): "
                    f"below {least[label]:g} a mask is rejected"
                )
            reasons += self._told(label, row, value) if value < LOW else []
        return Prediction(dice, new, list(dict.fromkeys(reasons)), rejected)

    def _predicted(self, label: str, found: Signals) -> tuple[np.ndarray, float, tuple[float, float]]:
        row = filled(self.about["names"][label], found, self.arrays[f"{label}/usual"])
        value, low, high = regression.predict(self.part(label), row[None])[0]
        return row, float(value), (float(low), float(high))

    def _told(self, label: str, row: np.ndarray, value: float) -> list[str]:
        """What lowered the prediction: signals whose usual value would raise it, the most first."""
        names, usual = self.about["names"][label], self.arrays[f"{label}/usual"]
        others = np.repeat(row[None], len(row), axis=0)
        np.fill_diagonal(others, usual)
        losses = regression.predict(self.part(label), others)[:, 0] - value
        losses[[name in SHARES and row[n] > usual[n] - 0.02 for n, name in enumerate(names)]] = 0
        is_empty = "empty" in names and row[names.index("empty")] == 1
        silent = [name not in MEANING or (is_empty and name in OF_WHAT_IS_DRAWN) for name in names]
        losses[silent] = 0
        order = [number for number in np.argsort(-losses)[:3] if losses[number] >= LEAST_LOSS]
        readable = label.replace("_", " ")
        return [MEANING[names[number]].format(label=readable, value=row[number]) for number in order]


def _two_digits(value: float) -> str:
    """As pages show the stored three digits: halves go up."""
    return str(Decimal(str(round(value, 3))).quantize(Decimal("0.01"), ROUND_HALF_UP))


def filled(names: Sequence[str], found: Signals, usual: np.ndarray) -> np.ndarray:
    """(F,) the signals in order, the usual value where one is unknown."""
    row = np.array([found.get(name, np.nan) for name in names], dtype=np.float64)
    return np.where(np.isfinite(row), row, usual)


def relative(known: Mapping[str, np.ndarray], new: Mapping[str, float]) -> float:
    """The distance in units of the training images' median, so that several networks can be compared."""
    return float(np.log2(new["distance"] / float(np.median(known["distances"]))))


def save(fitted: Fitted) -> bytes:
    """The file's content: NumPy's archive of plain arrays, `about` as JSON in one of them."""
    text = json.dumps({"format": FORMAT, **fitted.about}, sort_keys=True)
    stream = io.BytesIO()
    content: dict[str, Any] = {"about": np.frombuffer(text.encode(), dtype=np.uint8), **fitted.arrays}
    np.savez_compressed(stream, **content)
    return stream.getvalue()


@cache
def load(file: str | Path, sha256: str | None = None) -> Fitted:
    """Read a fitted predictor: arrays alone, nothing is executed.

    Raises:
        BundleError: the file is missing, damaged, of another format, or not the pinned one.
    """
    from medseg.bundle import sha256 as digest

    path = Path(file)
    advice = "Install the bundle again, or fit it anew by `medseg fit-quality`."
    if not path.is_file():
        raise BundleError("the bundle's predictor of quality", got=f"no file {path.name}", advice=advice)
    if sha256 is not None and digest(path) != sha256:
        raise BundleError(f"{path.name} with the SHA-256 {sha256[:12]}...", got="another file", advice=advice)
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        about = json.loads(arrays.pop("about").tobytes())
        is_known = about.pop("format") == FORMAT
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError("arrays of a predictor", got=f"{path.name}, damaged", advice=advice) from error
    if not is_known:
        raise BundleError("a predictor of this version", got=path.name, advice=advice)
    return Fitted(about, arrays)


def judged(
    quality: dict[str, Any],
    predictor: DicePredictor | None,
    about: tuple[str, Any, Mapping[str, Any]],
    case: Case,
    measurements: Mapping[str, Any],
    plausible: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """The verdict with what is predicted: reject below the least Dice, warn where something lowered it.

    Args:
        quality: the verdict and the reasons so far.
        predictor: None where none was fitted.
        about: the method, the SHA-256 of its weights, and the settings that a user has changed.
        case, measurements, plausible: see DicePredictor.

    Returns:
        `quality` with `predicted_dice` and `novelty`, or with `predicted_dice_reason`: why there are none.
    """
    unfit = NO_PREDICTOR if predictor is None else predictor.unfit(*about)
    if predictor is None or unfit is not None:
        return {**quality, "predicted_dice_reason": unfit}
    prediction = predictor(case, measurements, plausible)
    reasons = [*quality["reasons"], *prediction.reasons]
    verdict = "reject" if prediction.is_rejected else "warn" if reasons else "pass"
    found: dict[str, Any] = {"predicted_dice": prediction.dice}
    if prediction.novelty is not None:
        found["novelty"] = {key: round(value, 2) for key, value in prediction.novelty.items()}
    return {**quality, "verdict": verdict, "reasons": reasons, **found}
