"""One Segmenter, several threads: each call gives the mask that it gives alone."""

from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import medseg
from medseg import phantoms

pytestmark = pytest.mark.seconds

TINY = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [4, 8],
    "strides": [2],
    "norm": "instance",
}


def assert_alike(segmenter, sources):
    """The same masks and numbers from four threads, in another order, as from one."""
    alone = {source: segmenter(source) for source in sources}
    assert len({result.mask.array.tobytes() for result in alone.values()}) == len(sources)
    jobs = [*reversed(sources), *sources]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(segmenter, jobs))
    for source, result in zip(jobs, together, strict=True):
        assert np.array_equal(result.mask.array, alone[source].mask.array)
        assert result.measurements == alone[source].measurements
        assert result.warnings == alone[source].warnings


def test_photographs(tmp_path):
    sources = [tmp_path / f"{seed}.png" for seed in (1, 2)]
    for seed, source in enumerate(sources):
        Image.fromarray(phantoms.fundus(240 + 20 * seed, seed)[0]).save(source)
    small = {"field_diameter_px": 208, "inferer::inferer::inferer::roi_size": [128, 128]}
    assert_alike(medseg.Segmenter("retinal_vessel", "cpu", small), sources)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_scans(chest_phantom, tmp_path, monkeypatch, backend):
    """Of different sizes, by a network that knows nothing, on a coarse grid."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources = []
    for cut in (0, 6, 12):
        sources.append(tmp_path / f"{cut}.nii.gz")
        _write(chest_phantom, cut, sources[-1])
    torch.manual_seed(0)
    overrides = {
        "network_def": TINY,
        "network": "$accelerate(@network_def, [1, 1, 16, 16, 16], @backend, @device)",
        "backend": backend,
        "spacing_mm": 6.0,
        "inferer::inferer::inferer::roi_size": [32, 32, 32],
    }
    assert_alike(medseg.Segmenter("lung_ct", "cpu", overrides, "residual_unet"), sources)


def _write(phantom, cut, path):
    nib.save(nib.Nifti1Image(phantom.array[..., cut:].astype(np.int16), phantom.affine), path)
