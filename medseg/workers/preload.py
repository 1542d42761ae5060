"""Imported once, by the process that the workers are forked from: so a worker starts in a moment.

No model is loaded and no thread is started here, for a fork would not take threads along.
"""

import gc
from importlib import import_module

from medseg.deferred import import_monai

import_monai()
for name in (
    *("medseg.pipeline", "medseg.inference", "medseg.transforms", "medseg.methods", "medseg.measurements"),
    *("medseg.postprocessing", "nibabel", "pydicom", "scipy.ndimage", "skimage.measure"),
):
    import_module(name)
gc.freeze()  # what was imported is no garbage, and its memory stays shared with the workers
