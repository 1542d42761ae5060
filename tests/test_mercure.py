"""medseg as a module of mercure: settings, results and notification; as a process of its own at the end."""

import json
import os
import subprocess
import sys

import dicom_phantom
import dicom_writer
import numpy as np
import pydicom
import pytest
from seg_reader import read_seg

from medseg.cli import main
from medseg.errors import UnreadableError, UsageError
from medseg.io import read_volume
from medseg.mercure import images_in, read_settings
from medseg.phantoms.dicom_series import write_series

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
TASK = {"id": "x", "info": {"applied_rule": "chest"}, "process": {"module_name": "medseg"}}


def task_json(folder, settings, process=None):
    content = {**TASK, "process": process or {**TASK["process"], "settings": settings}}
    (folder / "task.json").write_text(json.dumps(content))
    return folder / "task.json"


def test_settings(tmp_path):
    found = read_settings(task_json(tmp_path, {"task": "lung_ct", "formats": "dicom-seg, rtstruct"}))
    assert (found.task, found.method, found.formats) == ("lung_ct", None, ("dicom-seg", "rtstruct"))
    chain = [
        {"settings": {"task": "lung_ct", "method": None, "formats": ["dicom-sr"], "even_rejected": True}}
    ]
    assert read_settings(task_json(tmp_path, None, chain)).even_rejected


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"taks": "lung_ct"}, "Did you mean task?"),
        ({}, "the setting task"),
        (None, "the settings of one module"),
        ([], "the settings of one module"),
        ({"task": 3}, "another value of the setting task"),
        ({"task": "lung_ct", "formats": "html"}, "a DICOM format"),
        ({"task": "lung_ct", "formats": [{}]}, "a DICOM format"),
        ({"task": "lung_ct", "even_rejected": "no"}, "another value of the setting even_rejected"),
    ],
)
def test_wrong_settings(settings, text, tmp_path):
    with pytest.raises(UsageError) as refused:
        read_settings(task_json(tmp_path, settings))
    assert text in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"process": [1, 2]}'])
def test_no_task_json(content, tmp_path):
    if content is not None:
        (tmp_path / "task.json").write_bytes(content)
    with pytest.raises(UsageError):
        read_settings(tmp_path / "task.json")


def test_images_of_a_study(tmp_path):
    """Named as mercure does; two series; what is no DICOM is passed over."""
    for number in (1, 2):
        dicom_writer.save(tmp_path, dicom_writer.ct_slices(series=number), name=f"1.2.3.{number}#{{}}.dcm")
    (tmp_path / "1.2.3.1#1.tags").write_text("{}")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(50))
    assert sorted(map(len, images_in(tmp_path).values())) == [8, 8]
    assert all(len(name) == 8 for name in images_in(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match="MERCURE_IN_DIR"):
        images_in(tmp_path / "empty")


def test_a_wrong_setting_is_told_in_result_json(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    task_json(tmp_path, {"task": "lung_ct", "mehtod": "x"})
    assert main(["mercure", "--in", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["__mercure_notification"]["requested"] is True
    assert "Did you mean method?" in found["__mercure_notification"]["text"]
    assert main(["mercure", "--in", str(tmp_path)]) == 2
    assert "MERCURE_OUT_DIR" in capsys.readouterr().err
    assert main(["mercure", "--in", str(tmp_path), "--out", str(tmp_path / "none")]) == 2


@pytest.mark.seconds
def test_a_study_as_a_process(chest_phantom, tmp_path):
    """A CT, and a localizer that nobody can segment; the home folder can't be written, as in a container."""
    folder, out = tmp_path / "in", tmp_path / "out"
    files = write_series(
        chest_phantom, folder, patient={"PatientName": "Planted^Name", "PatientID": "PLANTED"}
    )
    ct = read_volume(tuple(files), "CT")
    header = pydicom.dcmread(files[0])
    localizer = dicom_phantom.headers("sagittal")[:1]
    localizer[0].StudyInstanceUID, localizer[0].ImageType = (
        header.StudyInstanceUID,
        ["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    dicom_phantom.write(localizer, folder / "localizer")
    out.mkdir()
    task_json(folder, {"task": "lung_ct", "method": "classical", "formats": "dicom-seg,rtstruct,dicom-sr"})
    environment = {
        **os.environ,
        "MERCURE_IN_DIR": str(folder),
        "MERCURE_OUT_DIR": str(out),
        "HOME": "/nonexistent",
    }
    done = subprocess.run(
        [sys.executable, "-m", "medseg.cli", "mercure"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "1 of 2 series segmented"
    text = (out / "result.json").read_text()
    found = json.loads(text)
    (good,) = (one for one in found["series"] if "error" not in one)
    (bad,) = (one for one in found["series"] if "error" in one)
    assert good["measurements"]["left_lung_volume_ml"]["value"] > 100
    assert good["verdict"] == good["quality"]["verdict"]
    assert bad["is_refused"]
    notification = found["__mercure_notification"]
    assert notification["text"].startswith("lung_ct: 1 of 2 series segmented\n")
    assert bad["name"] not in notification["text"]
    assert notification["requested"] is (good["verdict"] != "pass")
    assert sorted(path.name for path in out.iterdir()) == sorted([*good["files"], "result.json"])
    assert len(good["files"]) == 3
    (seg,) = out.glob("*segmentation.dcm")
    mask = read_seg(seg, LABELS, ct)
    assert set(np.unique(mask.array)) == {0, 1, 2, 3}
    assert pydicom.dcmread(seg).StudyInstanceUID == header.StudyInstanceUID
    told = text + done.stdout + done.stderr + "".join(path.name for path in out.iterdir())
    assert "lanted" not in told.lower()
