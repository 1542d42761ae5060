"""Results of small phantoms, made without segmenting, for tests of stamps: every format is written."""

import dataclasses
import json

import dicom_phantom
import numpy as np

from medseg.bundle import shipped_root
from medseg.case import Case
from medseg.modes import ModeRules
from medseg.outputs import SegmentationResult
from medseg.volume import Mask

VOLUME_FORMATS = ["nifti", "nrrd", "dicom-seg", "rtstruct", "dicom-sr", "mesh", "png", "tissue", "html"]
PICTURE_FORMATS = ["png", "coco-panoptic", "html"]
PROVENANCE = {
    "method": "classical",
    "algorithm_family": "morphological_operations",
    "bundle_version": "0.1.0",
    "bundle_sha256": "b" * 64,
    "weights_sha256": ["1" * 64, "2" * 64],
    "settings": {"network::low": 'a "quoted" \\ ü <b>'},
    "input": "Case of Zwetschgenknoedel",
    "input_sha256": "c" * 64,
    "date": "2026-11-30T12:00:00+00:00",
    "mode": "semantic",
    "versions": {"medseg": "0.1.0", "monai": "1.6.1", "torch": "2.13.0"},
}
MEASUREMENTS = {"left_lung_volume_ml": {"value": 10.25, "unit": "ml"}}


def lungs():
    """A DICOM series with lungs, whose formats are VOLUME_FORMATS."""
    name = next(iter(dicom_phantom.GEOMETRIES))
    headers, affine = dicom_phantom.headers(name), dicom_phantom.ras_affine(name)
    mask = Mask(dicom_phantom.labels(), dicom_phantom.LABELS, affine=affine, headers=tuple(headers))
    image = np.where(mask.array > 0, -850, 40).astype(np.int16)[None]
    tissues = dataclasses.replace(
        mask, array=(mask.array == 1).astype(np.uint8), labels={0: "none", 1: "low"}
    )
    metadata = json.loads((shipped_root() / "lung_ct/configs/metadata.json").read_text())
    return SegmentationResult(
        mask,
        MEASUREMENTS,
        {"verdict": "pass", "reasons": []},
        [],
        {"task": "lung_ct", **PROVENANCE},
        image,
        codes=metadata["dicom_codes"],
        measurement_codes=metadata["dicom_measurements"],
        find_tissues=lambda: (tissues, {}),
    )


def lesions():
    """A picture with two numbered lesions, whose formats are PICTURE_FORMATS."""
    array = np.zeros((40, 50), np.uint8)
    array[5:15, 5:20] = array[25:35, 20:40] = 1
    image = np.full((3, 40, 50), 90, np.uint8)
    mask = Mask(array, {0: "background", 1: "lesion"})
    rules = ModeRules(mask.labels, {"split_touching": False})
    found = rules.apply(Case(mask, image), "instance").segmented
    about = {"task": "breast_ultrasound", **PROVENANCE, "mode": "instance"}
    measurements = {"lesion_count": {"value": 2, "unit": "1"}}
    return SegmentationResult(found, measurements, {"verdict": "pass", "reasons": []}, [], about, image)
