"""Synthetic examples, a chest CT and an ultrasound picture, to try medseg without a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from medseg.phantoms.chest_ct import Chest, chest
from medseg.phantoms.scanner import Scan

# Voxels of 2.4 mm; the field of view contains both lungs.
_SCAN = Scan((156, 126, 160), spacing_mm=(2.4, 2.4, 2.4), thickness_mm=2.4, centre_mm=(0, -12, -75))


def example_ct(output_dir: str | Path) -> Path:
    """A synthetic chest CT as a DICOM series, written on the first call.

    Args:
        output_dir: the folder in which input/example_chest is created.

    Returns:
        The series' folder.
    """
    from medseg.phantoms.dicom_series import write_series

    folder = Path(output_dir) / "input" / "example_chest"
    if not folder.is_dir():
        unfinished = folder.with_name("example_chest.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_series(chest(Chest(seed=8, disease={}, position="supine", scan=_SCAN)), unfinished)
        unfinished.rename(folder)
    return folder


def example_ultrasound(output_dir: str | Path) -> Path:
    """A synthetic ultrasound picture of a breast with one lesion, written on the first call.

    Args:
        output_dir: the folder in which input/example_breast.pgm is written.

    Returns:
        The file.
    """
    from medseg.phantoms.breast import breast_ultrasound

    file = Path(output_dir) / "input" / "example_breast.pgm"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        picture, _, _ = breast_ultrasound(seed=3)
        header = f"P5 {picture.shape[1]} {picture.shape[0]} 255\n"  # PGM, by netpbm's manual page
        file.write_bytes(header.encode() + picture.tobytes())
    return file
