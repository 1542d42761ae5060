"""The public names are a tested list, and importing medseg costs nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import medseg

HEAVY = ("torch", "monai", "mlflow", "itk", "ignite", "numpy", "scipy", "skimage", "nibabel", "PIL")


def test_public_names():
    assert medseg.__all__ == [
        "Mask",
        "MedsegError",
        "SegmentationResult",
        "Segmenter",
        "Volume",
        "propagate",
        "read_mask",
        "read_volume",
        "segment",
        "track",
        "write_mask",
    ]


@pytest.mark.parametrize("name", medseg.__all__)
def test_each_name_is_documented(name):
    assert getattr(medseg, name).__doc__
    assert name in dir(medseg)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'segmnet'"):
        _ = medseg.segmnet


@pytest.mark.parametrize(
    "code",
    [
        "import medseg",
        "from medseg.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from medseg.cli import main\nmain(['info'])",
    ],
)
@pytest.mark.seconds
def test_light_commands_import_nothing_heavy(code):
    check = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout, done.stdout[-300:]


@pytest.mark.seconds
def test_a_type_checker_knows_each_name(tmp_path):
    """Without other packages, which would take mypy a minute; what is theirs is Any then."""
    snippet = tmp_path / "snippet.py"
    lines = ["import medseg", *(f"reveal_type(medseg.{name})" for name in medseg.__all__), "medseg.segmnet"]
    snippet.write_text("\n".join(lines))
    options = ["--no-site-packages", "--follow-imports=silent", "--ignore-missing-imports"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path / 'cache'}", snippet],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(medseg.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', checked.stdout)
    assert len(revealed) == len(medseg.__all__), checked.stdout + checked.stderr
    for name, kind in zip(medseg.__all__, revealed, strict=True):
        assert kind.startswith("def ("), f"{name}: {kind}"
    assert 'no attribute "segmnet"; maybe "segment"?' in checked.stdout


def test_the_package_is_marked_as_typed():
    assert (Path(medseg.__file__).parent / "py.typed").is_file()
