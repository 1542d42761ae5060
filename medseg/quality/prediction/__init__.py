"""How good a mask is: its predicted Dice with an interval, and how unlike the training images its image
is."""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.bundle import Bundle, inference_files, parse
from medseg.errors import UnsuitableError
from medseg.quality.prediction.predictor import DicePredictor, Fitted, Prediction, judged, load

__all__ = ["DicePredictor", "Fitted", "Prediction", "judged", "load", "reference"]


def reference(bundle: Bundle, method: str | None = None) -> dict[str, np.ndarray]:
    """What the training images measure: measure to (n,) float64, `feature_distance` among them.

    Args:
        bundle: of the task.
        method: the name of one of its methods; None for the default.

    Raises:
        UnsuitableError: no predictor was fitted for the method, so nothing is known of its training images.
        BundleError: the predictor's file is damaged.
    """
    parser = parse(bundle, *inference_files(bundle, method))
    content: Any = parser.config
    found = content["result"].get("quality")
    if not found:
        raise UnsuitableError(
            "a method with a fitted predictor, whose training images are the reference",
            got=f"{method or 'the default method'} of {bundle.task}, which has none",
            advice="Name a folder of earlier results by --reference.",
        )
    file = parser.get_parsed_content("result::quality::file")
    sha256 = parser.get_parsed_content("result::quality::sha256")
    fitted = load(file, sha256)
    return {name: np.asarray(values) for name, values in fitted.part("reference").items()}
