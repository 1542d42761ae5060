"""`medseg completion`: the script is sourced in a shell, and asked as that shell asks it."""

import shutil
import subprocess

import pytest

TASKS = {"breast_ultrasound", "lung_ct", "retinal_vessel"}

# As readline calls a completion function: COMP_WORDS holds the words, the last one is being completed.
ASK = """
source "$1"; shift
COMP_WORDS=(medseg "$@"); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_shtab_medseg
printf '%s\\n' "${COMPREPLY[@]}"
"""

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")


def printed(run_medseg, capsys, shell):
    assert run_medseg("completion", shell) == 0
    return capsys.readouterr().out


@pytest.fixture
def complete(run_medseg, capsys, tmp_path):
    """What bash offers for the last word of a command line, in a folder with a picture and a folder."""
    script, folder = tmp_path / "medseg.bash", tmp_path / "work"
    script.write_text(printed(run_medseg, capsys, "bash"))
    (folder / "study").mkdir(parents=True)
    (folder / "photo.jpg").touch()

    def ask(*words):
        done = subprocess.run(
            ["bash", "-c", ASK, "-", script, *words], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return ask


def test_commands(complete):
    assert {"segment", "inspect", "train", "evaluate", "compare-runs", "completion"} <= complete("")
    assert complete("compare") >= {"compare-runs"}
    assert complete("seg") == {"segment"}


@pytest.mark.parametrize("command", ["segment", "train", "evaluate", "methods", "info"])
def test_tasks(complete, command):
    assert complete(command, "") == TASKS
    assert complete(command, "lu") == {"lung_ct"}


def test_options(complete):
    assert {"--formats", "--mode", "--output"} <= complete("segment", "lung_ct", "scan.zip", "--")
    assert complete("evaluate", "lung_ct", "--sp") == {"--split"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--mode", "inst"], ["instance"]),
        (["--device", ""], ["auto", "cpu", "cuda"]),
        (["--method", "class"], ["classical"]),
        (["--formats", "n"], ["nifti", "nrrd"]),
        (["--formats", "png,dicom-seg,h"], ["png,dicom-seg,html"]),
        (["-o", ""], ["study"]),
    ],
    ids=" ".join,
)
def test_values_of_options(complete, words, expected):
    """After an input, as in a command that is typed from left to right."""
    assert complete("segment", "lung_ct", "photo.jpg", *words) == set(expected)


def test_values_of_an_evaluation(complete):
    assert complete("evaluate", "lung_ct", "--split", "t") == {"training", "test"}
    assert complete("evaluate", "lung_ct", "--manifest", "chase") == {"chase_db1"}
    assert complete("evaluate", "lung_ct", "--manifest", "ph") == {"photo.jpg"}


def test_inputs_are_files(complete):
    assert complete("segment", "lung_ct", "") == {"photo.jpg", "study"}
    assert complete("segment", "lung_ct", "photo.jpg", "st") == {"study"}
    assert complete("inspect", "ph") == {"photo.jpg"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(run_medseg, capsys, tmp_path, shell):
    script = tmp_path / "script"
    script.write_text(printed(run_medseg, capsys, shell))
    for word in ("compare-runs", "formats", "dicom-seg", "instance", "lung_ct", "chase_db1"):
        assert word in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_an_unknown_shell(run_medseg, capsys):
    with pytest.raises(SystemExit) as caught:
        run_medseg("completion", "tcsh")
    assert caught.value.code == 2
    assert "bash" in capsys.readouterr().err
