"""The guides work: their files are put into a copy of the checkout, and their commands run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import skimage

pytestmark = pytest.mark.seconds

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
GUIDES = [*sorted((ROOT / "docs" / "guides").glob("add_a_*.md")), ROOT / "docs" / "how-to" / "new-organ.md"]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path):
    """The parts of the checkout that a guide may change."""
    shutil.copytree(ROOT / "medseg", tmp_path / "medseg", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles")
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(Path(skimage.__file__).parent / "data" / "retina.jpg", tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_guide(guide, checkout):
    for language, title, code in FENCE.findall(guide.read_text()):
        if title and language == "diff":
            file = checkout / title
            file.write_text(changed(file.read_text(), code))
        elif title:
            file = checkout / title
            assert not (ROOT / title).exists(), f"{title} exists already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
        elif language == "bash":
            run(code, checkout)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_code_of_a_guide_is_clean(guide, tmp_path):
    """As `make check` wants the checkout."""
    files = []
    for language, title, code in FENCE.findall(guide.read_text()):
        if title and language == "python":
            files.append(tmp_path / title)
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_text(code)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    own = 'lint.isort.known-first-party=["medseg"]'  # the modules that the code imports aren't here
    for words in (["check", "--config", own], ["format", "--check"]) if files else ():
        command = [str(Path(sys.executable).parent / "ruff"), *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_guide_for_each_kind():
    kinds = {"task", "method", "format", "measurement", "metric", "command"}
    assert {guide.stem.removeprefix("add_a_") for guide in GUIDES if guide.stem != "new-organ"} == kinds


def test_a_change_takes_the_place_of_lines_that_exist_once():
    assert changed("a\nb\nc\n", " a\n-b\n+B\n") == "a\nB\nc\n"
    assert changed("a\nb\nc\n", "+0\n a\n@@\n-c\n+C\n") == "0\na\nb\nC\n"
    with pytest.raises(AssertionError):
        changed("a\na\n", "-a\n+b\n")


def changed(text, diff):
    """The text after the hunks of a diff without line numbers, parted by @@."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        assert all(line[0] in " -+" for line in lines), hunk
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"expected once:\n{old}"
        text = text.replace(old, new)
    return text


def run(code, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
