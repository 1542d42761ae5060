"""An input is shown to the gates of the tasks that take such an image."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg import phantoms
from medseg.bundle import open_bundle
from medseg.errors import BundleError, UsageError
from medseg.quality.inspection import inspect


@pytest.fixture
def fundus(tmp_path):
    Image.fromarray(phantoms.fundus(seed=1)[0]).save(tmp_path / "fundus.png")
    return tmp_path / "fundus.png"


@pytest.fixture
def ultrasound(tmp_path):
    Image.fromarray(phantoms.breast_ultrasound(2)[0]).save(tmp_path / "breast.png")
    return tmp_path / "breast.png"


@pytest.mark.seconds
def test_each_task_of_the_dimension_is_asked(fundus):
    found = inspect(fundus)
    assert {opinion.task: opinion.verdict for opinion in found.tasks}["retinal_vessel"] == "pass"
    assert {"breast_ultrasound", "retinal_vessel"} <= {opinion.task for opinion in found.tasks}
    assert "lung_ct" not in {opinion.task for opinion in found.tasks}


@pytest.mark.seconds
def test_the_best_opinion_counts(fundus, ultrasound):
    for path, task in ((fundus, "retinal_vessel"), (ultrasound, "breast_ultrasound")):
        found = inspect(path)
        assert (found.verdict, found.reasons) == ("pass", []), task
        assert f"{task}: pass" in str(found)


def test_one_task_alone(ultrasound):
    found = inspect(ultrasound, "retinal_vessel")
    assert found.verdict == "warn"
    assert any("may not be a fundus photograph" in reason for reason in found.reasons)
    assert found.tasks == []


def test_another_kind_of_image_for_a_task(tmp_path):
    nib.Nifti1Image(np.zeros((8, 9, 10), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    found = inspect(tmp_path / "a.nii.gz", "retinal_vessel")
    assert found.verdict == "reject"
    assert "expected a picture (2 axes)" in found.reasons[0]


def test_what_nobody_can_read(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    found = inspect(tmp_path / "a.png")
    assert found.verdict == "reject"
    assert len(found.reasons) == 1


@pytest.mark.seconds
def test_an_unknown_task(fundus):
    with pytest.raises(UsageError, match="Did you mean retinal_vessel"):
        inspect(fundus, "retinal_vessels")


@pytest.mark.seconds
def test_json(fundus, run_medseg, capsys):
    assert run_medseg("inspect", fundus, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert [opinion["task"] for opinion in record["tasks"] if opinion["verdict"] == "pass"] == [
        "retinal_vessel"
    ]


@pytest.mark.seconds
def test_a_folder_of_pictures(fundus, ultrasound, run_medseg, capsys):
    """Each is looked at, as segment would take each."""
    assert run_medseg("inspect", fundus.parent) == 0
    shown = capsys.readouterr().out
    assert str(fundus) in shown
    assert str(ultrasound) in shown
    assert shown.count("verdict: pass") == 2
    (fundus.parent / "broken.png").write_text("no picture")
    capsys.readouterr()
    assert run_medseg("inspect", fundus.parent, "--json") == 4
    records = json.loads(capsys.readouterr().out)
    assert {Path(record["input"]).name: record["verdict"] for record in records} == {
        "breast.png": "pass",
        "broken.png": "reject",
        "fundus.png": "pass",
    }
    assert run_medseg("inspect", fundus.parent / "nothing.png") == 3


class TestFaultyBundles:
    @pytest.fixture
    def bundle(self, tmp_path, monkeypatch):
        """A copy of the vessels' bundle in the working directory, and what changes its inference.yaml."""
        folder = tmp_path / "here" / "bundles" / "mine"
        shutil.copytree(open_bundle("retinal_vessel").root, folder, ignore=shutil.ignore_patterns("*.pt"))
        monkeypatch.chdir(folder.parents[1])
        file = folder / "configs" / "inference.yaml"

        def change(old, new):
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new, 1))

        return change

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("FindFieldOfViewd", "FindFieldOfView"),
            ("medseg.transforms.FindFieldOfViewd", "torch.device"),
            ("  load:", "  read:"),
            ("preprocessing:", "before:"),
            ("labels:", "labels: ["),
        ],
        ids=["misspelt", "no transform", "no load", "no preprocessing", "no YAML"],
    )
    def test_they_keep_no_other_task_from_being_asked(self, bundle, fundus, caplog, old, new):
        bundle(old, new)
        found = inspect(fundus)
        assert found.verdict == "pass"
        assert "mine" not in {verdict.task for verdict in found.tasks}
        assert "mine was not asked: expected a configuration" in caplog.text
        with pytest.raises(BundleError, match="expected a configuration"):
            inspect(fundus, "mine")

    @pytest.mark.parametrize("content", ["{}", "[1]", "{"])
    def test_metadata(self, bundle, fundus, content):
        (Path("bundles/mine/configs") / "metadata.json").write_text(content)
        assert inspect(fundus).verdict == "pass"
        with pytest.raises(BundleError, match=r"mine/configs/metadata\.json"):
            inspect(fundus, "mine")

    def test_a_task_without_checks_says_so(self, bundle, fundus):
        bundle("  gate:", "  find:")
        found = inspect(fundus, "mine")
        assert found.verdict == "warn"
        assert "no step `gate`" in found.reasons[0]
