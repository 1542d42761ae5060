"""medseg cohort: exit codes, what it prints and writes, and that a kill at any moment loses no case."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import medseg
from medseg import phantoms
from medseg.cli import main
from medseg.cohort.ledger import Ledger

SMALL = ("field_diameter_px=208", "inferer::inferer::inferer::roi_size=[128, 128]")
WAIT_S = 120


def words(*sources, out, more=()):
    how = [word for pair in SMALL for word in ("--set", pair)]
    return ["cohort", "retinal_vessel", *map(str, sources), "-o", str(out), "--device", "cpu", *how, *more]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight photographs, an empty file and a text: read only."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(8):
        Image.fromarray(phantoms.fundus(240, number)[0]).save(folder / f"eye_{number}.png")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    return folder


def states(out):
    ledger = Ledger(out / "cohort.sqlite")
    try:
        return {row.case: row.state for row in ledger.cases()}
    finally:
        ledger.close()


def masks(out, cases):
    return {case: np.asarray(Image.open(out / case / "segmentation.png")).tobytes() for case in cases}


@pytest.mark.seconds
def test_every_case_has_an_end_and_the_masks_are_those_of_one_by_one(images, tmp_path, capsys):
    assert main(words(images, out=tmp_path / "out", more=["--workers", "2"])) == 4
    said = capsys.readouterr()
    assert "10 cases: 8 done, 2 refused" in said.out
    assert f"{images / 'text.png'}: expected a picture" in said.err
    segmenter = medseg.Segmenter(
        "retinal_vessel",
        "cpu",
        {"field_diameter_px": 208, "inferer::inferer::inferer::roi_size": [128, 128]},
    )
    cases = [f"eye_{number}" for number in range(8)]
    alone = {case: segmenter(images / f"{case}.png").mask.array.tobytes() for case in cases}
    assert masks(tmp_path / "out", cases) == alone
    with (tmp_path / "out" / "cohort.csv").open() as file:
        assert {row["case"]: row["state"] for row in csv.DictReader(file)} == states(tmp_path / "out")
    assert (tmp_path / "out" / "cohort.html").is_file()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".medseg")]


@pytest.mark.seconds
def test_nothing_but_broken_files(images, tmp_path):
    assert main(words(images / "empty.png", images / "text.png", out=tmp_path / "out")) == 3


def started(*command, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "medseg.cli", *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background lets all of its processes ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def wait_for_done(out, count):
    """Until so many cases are done; the ledger may not be there yet."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if done_in(out / "cohort.sqlite") >= count:
            return
        time.sleep(0.02)
    raise AssertionError("it did not begin")


def done_in(path):
    if not path.is_file():
        return 0
    base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return base.execute("SELECT count(*) FROM cases WHERE state = 'done'").fetchone()[0]
    except sqlite3.OperationalError:  # between the creation of the file and that of the table
        return 0
    finally:
        base.close()


@pytest.mark.seconds
def test_a_killed_run_goes_on(images, tmp_path, capsys):
    out = tmp_path / "out"
    with started(*words(images, out=out)) as runner:
        wait_for_done(out, 2)
        runner.kill()
    left = states(out)
    assert len(left) == 10
    assert main(words(images, out=out)) == 2
    assert "Go on with --resume" in capsys.readouterr().err
    assert main(words(images, out=out, more=["--resume"])) == 4
    assert sorted(states(out).values()) == ["done"] * 8 + ["refused"] * 2
    assert "10 cases: 8 done, 2 refused" in capsys.readouterr().out
    assert not [path for path in out.iterdir() if path.name.startswith(".medseg")]


@pytest.mark.seconds
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stopped_run_says_so_and_leaves_no_case_running(images, tmp_path, number):
    out = tmp_path / "out"
    with started(*words(images, out=out)) as runner:
        wait_for_done(out, 1)
        runner.send_signal(number)
        error = runner.communicate(timeout=WAIT_S)[1]
    assert runner.returncode == 1
    assert error.splitlines()[-1] == "medseg: stopped"
    found = states(out)
    assert "pending" in found.values()
    assert set(found.values()) <= {"done", "pending", "refused"}
    assert (out / "cohort.csv").is_file()


@pytest.mark.seconds
def test_ctrl_c_while_the_workers_import_prints_one_line(images, tmp_path):
    """A terminal sends it to every process of the command."""
    out = tmp_path / "out"
    with started(*words(images, out=out), start_new_session=True) as runner:
        end = time.monotonic() + WAIT_S
        while not (out / "cohort.sqlite").is_file() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)
        os.killpg(runner.pid, signal.SIGINT)
        error = runner.communicate(timeout=WAIT_S)[1]
    assert (runner.returncode, error) == (1, "medseg: stopped\n")


@pytest.mark.seconds
def test_a_full_disk_stops_and_a_resume_goes_on(images, tmp_path, capsys):
    """A device on which each write fails as on a full disk, where the line of a case would go."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "sources.jsonl").symlink_to("/dev/full")
    assert main(words(images, out=out)) == 1
    said = capsys.readouterr().err
    assert "medseg: expected files that can be written; got No space left on device" in said
    assert "Make room, or repair the disk, and go on with --resume" in said
    assert "done" not in states(out).values()
    (out / "sources.jsonl").unlink()
    assert main(words(images, out=out, more=["--resume"])) == 4
    assert list(states(out).values()).count("done") == 8


@pytest.mark.seconds
def test_parts_are_the_whole(images, tmp_path):
    outs = [tmp_path / str(number) for number in (1, 2, 3)]
    for number, out in enumerate(outs, 1):
        main(words(images, out=out, more=["--part", f"{number}/3"]))
    found = [case for out in outs for case in states(out)]
    assert sorted(found) == sorted(["empty", "text", *(f"eye_{number}" for number in range(8))])


@pytest.mark.seconds
def test_settings_that_only_a_model_can_refuse(images, tmp_path, capsys):
    """Nothing is left of them, so that the right ones can follow."""
    command = ["cohort", "retinal_vessel", str(images), "-o", str(tmp_path / "out"), "--set", "thresold=0.4"]
    assert main(command) == 2
    assert "Did you mean threshold?" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cohort.sqlite").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "0"], "--workers of 1 or more"),
        (["--part", "0/3"], "--part I/N"),
        (["--part", "4/3"], "--part I/N"),
        (["--part", "1"], "--part I/N"),
        (["--part", "a/b"], "--part I/N"),
        (["--timeout-s", "0"], "--timeout-s above 0"),
        (["--retry"], "--resume with --retry"),
        (["--formats", "pgn"], "Did you mean png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_writes_nothing(images, tmp_path, capsys, more, message):
    assert main(words(images, out=tmp_path / "out", more=more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file(images, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert main(words(images, out=tmp_path / "out")) == 1
    assert "which is a file" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(images, tmp_path):
    (tmp_path / "out").mkdir(0o500)
    assert main(words(images, out=tmp_path / "out")) == 1
