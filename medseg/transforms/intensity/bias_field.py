"""Slow, multiplicative changes of brightness: shading of light, coils and depth."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from monai.config import KeysCollection
from torch.nn import functional

from medseg.errors import UnsuitableError, UsageError
from medseg.transforms.intensity.region_filter import RegionFilterd, require_positive


class CorrectBiasFieldd(RegionFilterd):
    """N4 bias field correction by ITK (Tustison et al., IEEE Transactions on Medical Imaging 29, 2010).

    The image is divided by a smooth field, which is fitted on a coarser copy. The mean inside the region
    stays. Pixels of 0 and the outside have no part in the fit.

    Args:
        keys: see RegionFilterd; values of 0 and above.
        shrink: how many times coarser the copy is.
        steps: of the fit, on each of its levels; each level has twice as many control points along an axis.
        region_key: see RegionFilterd.

    Raises:
        UsageError: ITK's filters are not installed, or a number is not above 0.
        UnsuitableError: values below 0, such as Hounsfield units.
    """

    def __init__(
        self,
        keys: KeysCollection,
        shrink: int = 4,
        steps: Sequence[int] = (50, 50, 30),
        region_key: str | None = None,
    ) -> None:
        super().__init__(keys, region_key)
        require_positive(shrink=shrink, levels=len(steps), **{f"steps[{n}]": s for n, s in enumerate(steps)})
        self.shrink, self.steps = int(shrink), [int(count) for count in steps]

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        if values.min() < 0:
            raise UnsuitableError(
                "values of 0 and above for the bias field",
                got="values below 0",
                advice="Leave the step out: Hounsfield units have no bias field.",
            )
        coarse = _resized(values, [max(1, size // self.shrink) for size in values.shape])
        seen = _resized(region.astype(np.float32), coarse.shape) > 0.5
        logarithm = self._fitted(coarse, seen & (coarse > 0))
        corrected: np.ndarray = values / np.exp(_resized(logarithm, values.shape))
        return corrected * (values[region].mean() / corrected[region].mean())

    def _fitted(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The logarithm (spatial...) of the field, 0 where the mask has too few pixels to fit one."""
        itk = _itk()
        if np.count_nonzero(mask) < 4**values.ndim:  # the spline's control points
            return np.zeros_like(values)
        image, where = itk.image_from_array(values), itk.image_from_array(mask.astype(np.uint8))
        found = itk.n4_bias_field_correction_image_filter(
            image,
            mask_image=where,
            number_of_fitting_levels=len(self.steps),
            maximum_number_of_iterations=self.steps,
        )
        ratio = values / np.maximum(itk.array_from_image(found), 1e-12)
        return np.log(np.where(values > 0, ratio, 1))


def _resized(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Coarser by means, finer by linear interpolation."""
    given = torch.as_tensor(values)[None, None]
    if all(new <= old for new, old in zip(shape, values.shape, strict=True)):
        return functional.interpolate(given, tuple(shape), mode="area")[0, 0].numpy()
    mode = "bilinear" if values.ndim == 2 else "trilinear"
    return functional.interpolate(given, tuple(shape), mode=mode, align_corners=False)[0, 0].numpy()


def _itk() -> ModuleType:
    try:
        import itk

        _ = itk.N4BiasFieldCorrectionImageFilter  # of the package itk-filtering; itk itself comes with itk-io
    except (ImportError, AttributeError) as error:
        raise UsageError(
            "ITK's filters, which correct bias fields",
            got="an environment without them",
            advice='Run pip install "medseg[bias]".',
        ) from error
    return itk
