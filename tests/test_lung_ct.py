"""The lung bundle from a study to files: three entries, one mask, on the scan's own voxels."""

import json
import subprocess
import sys

import numpy as np
import pytest
from dicom_faults import write_faulty_series

import medseg
from medseg.errors import UnsuitableError
from medseg.io import read_mask, read_volume
from medseg.metrics.overlap import confusion
from medseg.phantoms.dicom_series import write_series

pytestmark = pytest.mark.seconds

TASK = "lung_ct"
LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}


@pytest.fixture(scope="module")
def segmenter():
    return medseg.Segmenter(TASK, "cpu", method="classical")


@pytest.fixture(scope="module")
def study(chest_phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lung") / "study"
    write_series(chest_phantom, folder, names="random")
    return folder


@pytest.fixture(scope="module")
def result(segmenter, study):
    return segmenter(study)


def dice(found, truth, label):
    return confusion(found == label, truth == label).dice


def test_lungs_of_a_phantom(result, chest_phantom):
    assert result.mask.array.shape == chest_phantom.labels.shape
    assert np.allclose(result.mask.affine, chest_phantom.affine, atol=1e-3)
    assert dice(result.mask.array, chest_phantom.labels, 1) > 0.95
    assert dice(result.mask.array, chest_phantom.labels, 2) > 0.95
    assert result.mask.labels == LABELS
    volumes = [result.measurements[f"{side}_lung_volume_ml"]["value"] for side in ("left", "right")]
    voxel_ml = abs(np.linalg.det(chest_phantom.affine[:3, :3])) / 1000
    truth = [(chest_phantom.labels == label).sum() * voxel_ml for label in (1, 2)]
    assert volumes == pytest.approx(truth, rel=0.08)


def test_provenance(result):
    assert result.provenance["method"] == "classical"
    assert result.provenance["weights_sha256"] is None
    assert result.provenance["input"] == "study"
    assert len(result.provenance["input_sha256"]) == 64


@pytest.mark.parametrize(
    "orientation", ["prone", "feet_first", "right_side_down", "left_side_down", "sagittal", "coronal"]
)
def test_left_stays_left(segmenter, chest_phantom, result, tmp_path, orientation):
    """The same patient on slices of another direction: the same lungs in the same places."""
    write_series(chest_phantom, tmp_path / "study", orientation=orientation)
    turned = segmenter(tmp_path / "study")
    for label in (1, 2):
        found, expected = (centre_mm(r.mask, label) for r in (turned, result))
        assert found == pytest.approx(expected, abs=2)
        volumes = [r.measurements[f"{LABELS[label]}_volume_ml"]["value"] for r in (turned, result)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    assert centre_mm(turned.mask, 1)[0] < centre_mm(turned.mask, 2)[0]


def centre_mm(mask, label):
    """(3,) RAS+ mm."""
    return list(mask.affine[:3, :3] @ np.mean(np.nonzero(mask.array == label), axis=1) + mask.affine[:3, 3])


@pytest.mark.parametrize("method", ["classical", pytest.param("residual_unet", marks=pytest.mark.slow)])
def test_three_entries_give_the_same_mask(study, run_medseg, monai_bundle, tmp_path, method):
    result = medseg.Segmenter(TASK, "cpu", method=method)(study)
    configs = medseg.bundle.find(TASK) / "configs"
    files = [str(configs / name) for name in ("inference.yaml", f"methods/{method}.yaml")]
    options = ("--config_file", files, "--input", study, "--output_dir", tmp_path / "monai")
    done = monai_bundle("run", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    arguments = ("segment", TASK, study, "-o", tmp_path / "cli", "--device", "cpu", "--method", method)
    assert run_medseg(*arguments) == 0
    for entry in ("monai", "cli"):
        mask = read_mask(tmp_path / entry / "study" / "segmentation.nii.gz", LABELS)
        assert np.array_equal(mask.array, result.mask.array), entry
        assert np.allclose(mask.affine, result.mask.affine, atol=1e-4)
        record = json.loads((tmp_path / entry / "study" / "measurements.json").read_text())
        assert record["measurements"] == json.loads(json.dumps(result.measurements))
        assert record["provenance"]["method"] == method


def test_a_study_as_a_list_of_files_or_an_archive(study, result, run_medseg, tmp_path):
    import shutil

    files = sorted(study.iterdir())
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", study)
    assert run_medseg("segment", TASK, *files, "-o", tmp_path / "out", "--method", "classical") == 0
    assert run_medseg("segment", TASK, archive, "-o", tmp_path / "out", "--method", "classical") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["packed", "sources.jsonl", "study"]
    for name in ("packed", "study"):
        mask = read_mask(tmp_path / "out" / name / "segmentation.nii.gz", LABELS)
        assert np.array_equal(mask.array, result.mask.array)


def test_seg_and_rtstruct_lie_on_the_source_slices(result, study, tmp_path):
    import pydicom
    from seg_reader import read_seg

    folder = result.save(tmp_path, ["dicom-seg", "rtstruct"])
    again = read_seg(folder / "segmentation.dcm", LABELS, read_volume(study, "CT"))
    assert np.array_equal(again.array, result.mask.array)
    seg, structures = (pydicom.dcmread(folder / name) for name in ("segmentation.dcm", "rtstruct.dcm"))
    uids = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in study.iterdir()}
    series = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in series} <= uids
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert [item.ROIName for item in structures.StructureSetROISequence] == list(LABELS.values())[1:]


def test_an_empty_mask(result, tmp_path):
    """What can't be empty is not written, and what an earlier result left there goes."""
    import dataclasses

    folder = result.save(tmp_path, ["nifti", "dicom-seg", "rtstruct", "mesh"])
    empty = dataclasses.replace(
        result, mask=dataclasses.replace(result.mask, array=np.zeros_like(result.mask.array))
    )
    empty.save(folder, ["nifti", "dicom-seg", "rtstruct", "mesh"])
    assert sorted(path.name for path in folder.iterdir()) == ["measurements.json", "segmentation.nii.gz"]


def test_a_volume_that_is_no_chest(segmenter, small_volume, tmp_path):
    write_faulty_series(small_volume, tmp_path / "study", faults=["values_0_255"])
    with pytest.raises(UnsuitableError):
        segmenter(tmp_path / "study")


def test_inspect(study, run_medseg, capsys):
    assert run_medseg("inspect", study, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "pass"
    assert len(record["series"]) == 1
    assert record["orientation"] == "LPS"


def test_segmenting_imports_nothing_of_the_training(study, tmp_path):
    code = f"""
import sys
from medseg.cli import main
assert main(["segment", {TASK!r}, {str(study)!r}, "-o", {str(tmp_path)!r}, "--method", "classical"]) == 0
print({{"jsonschema", "matplotlib", "mlflow", "pandas"}} & {{*sys.modules}})
import mlflow
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'monai', 'pydicom', 'itk'}"
    code = f"import sys; from medseg.cli import parser; parser(); print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
