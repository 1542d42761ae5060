"""medseg follow-up: what it prints and writes, and that a refusal writes nothing."""

import json

import pytest
from two_chests import chest, result_folder

from medseg.cli import main
from medseg.follow_up import comparison
from medseg.phantoms.dicom_series import write_series
from medseg.volume import Volume

pytestmark = pytest.mark.seconds


def call(*words):
    return main(["follow-up", *map(str, words)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    nodules = [[((70, 25, -20), radius)] for radius in (9, 11.5)]
    return [
        result_folder(out, case, seed=seed, nodules=nodules[seed]) for seed, case in enumerate(("old", "new"))
    ]


def test_two_results_to_a_page(folders, tmp_path, capsys):
    pytest.importorskip("SimpleITK")
    out = tmp_path / "out"
    assert call(*folders, "-o", out, "--dates", "2025-01-31,2025-07-02") == 0
    printed, warned = capsys.readouterr()
    assert printed.startswith("2025-01-31 to 2025-07-02")
    assert "grown" in printed
    assert "nothing shows that all images are of one patient" in warned
    record = json.loads((out / "follow_up.json").read_text())
    (found,) = record["comparisons"][0]["objects"]
    assert found["kind"] == "grown"
    assert (out / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["old"], 2, "two or more times"),
        (["old", "new"], 2, "the date of each study"),
        (["old", "new", "--dates", "2025-01-31,2025-01-31"], 2, "different dates"),
        (["old", "nowhere", "--dates", "2025-01-31,2025-07-02"], 3, "no nowhere"),
        (["old", "new.nii.gz", "--dates", "2025-01-31,2025-07-02"], 2, "--task"),
        (["old", "old", "--dates", "2025-01-31,2025-07-02"], 2, "the same image in old and old-2"),
        (["old", "new", "--dates", "2025-01-31,2999-07-02"], 2, "2999-07-02 for new"),
        (["old", "new", "--dates", "31.1.2025,2.7.2025"], 2, "medseg: expected dates such as"),
        (["old", "new", "--method", "classical"], 2, "--task beside --method"),
    ],
    ids=["one", "dates", "equal", "missing", "image", "twice", "future", "no-dates", "method"],
)
def test_refusals_write_nothing(folders, tmp_path, monkeypatch, capsys, words, code, text):
    monkeypatch.chdir(folders[0].parent)
    assert call(*words, "-o", tmp_path / "out") == code
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def study(folder, number, patient="7"):
    """A DICOM study of the chest, with nodules that grow."""
    hu, _, affine = chest(seed=number, nodules=[((70, 25, -20), 9 + 3 * number)])
    about = {"PatientID": patient, "PatientName": "Muster^Eva", "StudyDate": f"2025010{number + 1}"}
    write_series(Volume(hu[None], affine), folder, patient=about, seed=number)
    return folder


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    home = tmp_path_factory.mktemp("studies")
    return [study(home / name, number) for number, name in enumerate(("january", "july"))]


def test_studies_are_segmented_first(studies, tmp_path, capsys):
    pytest.importorskip("SimpleITK")
    out = tmp_path / "out"
    assert call(*studies, "--task", "lung_ct", "--method", "classical", "-o", out) == 0
    printed, warned = capsys.readouterr()
    assert printed.startswith("2025-01-01 to 2025-01-02")
    assert "nothing shows" not in warned
    assert "Muster" not in printed + warned + (out / "report.html").read_text()
    assert call(out / "january", out / "july", "-o", out) == 0
    record = (out / "follow_up.json").read_bytes()
    assert call(out / "july", study(tmp_path / "next", 2), *("--task", "lung_ct", "-o", out)) == 2
    assert "the follow-up of other visits" in capsys.readouterr().err
    assert (out / "follow_up.json").read_bytes() == record
    assert not (out / "next").exists()


def test_another_patient_is_refused_before_anything_is_segmented(studies, tmp_path, capsys):
    other = study(tmp_path / "other", 2, patient="8")
    assert call(studies[0], other, "--task", "lung_ct", "-o", tmp_path / "out") == 3
    assert "images of one patient" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_segmented_stays_if_the_comparison_fails(folders, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(comparison, "follow", full)
    images = [folder.with_name(f"{folder.name}.nii.gz") for folder in folders]
    words = ["--task", "lung_ct", "--method", "classical", "--dates", "2025-01-31,2025-07-02"]
    assert call(*images, *words, "-o", tmp_path) == 1
    assert {path.parent.name for path in tmp_path.glob("*/measurements.json")} == {"old", "new"}
