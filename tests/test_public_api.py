"""The public names are a tested list, and importing medseg costs nothing."""

import subprocess
import sys

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
        "read_mask",
        "read_volume",
        "segment",
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
def test_light_commands_import_nothing_heavy(code):
    check = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout, done.stdout[-300:]
