"""medseg propagate: which options belong together, and what is written."""

import numpy as np
import pytest
from PIL import Image

from medseg.cli import main

pytestmark = pytest.mark.seconds


@pytest.fixture
def clip(tmp_path):
    """Six frames with a disc that moves by 2 px each, and the disc of frame 3 as a mask."""
    folder = tmp_path / "clip"
    folder.mkdir()
    rows, columns = np.ogrid[:64, :80]
    for number in range(6):
        disc = np.hypot(rows - 32, columns - 30 - 2 * number) < 12
        Image.fromarray((200 * disc + 30).astype(np.uint8)).save(folder / f"{number}.png")
        if number == 2:
            Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "mask.png")
    return folder


def call(*words):
    return main(["propagate", *map(str, words)])


def test_a_film(clip, tmp_path, capsys):
    assert call(clip, "--mask", tmp_path / "mask.png", "--frame", 3, "-o", tmp_path / "out") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("segmentation.tif", "path.csv", "overlay.png", "report.html", "measurements.json")
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask", "MASK"], "--frame N"),
        (["--frame", 3], "--mask FILE or --task TASK"),
        (["--frame", 3, "--mask", "MASK", "--task", "breast_ultrasound"], "got both"),
        (["--frame", 3, "--mask", "MASK", "--method", "threshold"], "--method with --task"),
        (["--frame", 3, "--mask", "MASK", "--axis", "axial"], "got --axis for a film"),
        (["--frame", 9, "--mask", "MASK"], "a frame from 1 to 6"),
        (["--frame", 3, "--mask", "MASK", "--reach", 0], "a reach above 0"),
        (["--frame", 3, "--mask", "MASK", "--pixel-spacing-mm", -1], "a positive number of mm"),
    ],
)
def test_options_that_do_not_fit(clip, tmp_path, capsys, words, message):
    words = [tmp_path / "mask.png" if word == "MASK" else word for word in words]
    assert call(clip, *words, "-o", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_a_film_for_a_volume(tmp_path, capsys):
    scan = tmp_path / "scan.nii.gz"
    assert call(scan, "--mask", "m.nii.gz", "--frame", 3, "-o", tmp_path / "out") == 2
    assert "got --frame for a volume" in capsys.readouterr().err


def test_a_still(clip, tmp_path, capsys):
    words = ["--mask", tmp_path / "mask.png", "--frame", 1, "-o", tmp_path / "out"]
    assert call(tmp_path / "mask.png", *words) == 3
    assert "the still picture mask.png" in capsys.readouterr().err


def test_a_film_with_the_object_that_a_task_finds(tmp_path, capsys):
    """A phantom lesion that slides to the side."""
    from medseg.phantoms.breast import breast_ultrasound

    picture, truth, _ = breast_ultrasound(seed=1)
    folder = tmp_path / "film"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(picture, 2 * number, axis=1)).save(folder / f"{number}.png")
    words = [folder, "--task", "breast_ultrasound", "--frame", 2, "-o", tmp_path / "out"]
    assert call(*words) == 0, capsys.readouterr().err
    import tifffile

    masks = tifffile.imread(tmp_path / "out" / "segmentation.tif")
    assert all(masks[number].any() for number in range(3))
    assert 2 * (masks[0] * truth).sum() / (masks[0].sum() + truth.sum()) > 0.7
