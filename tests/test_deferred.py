"""MONAI's optional libraries wait until they are used, and are whole when they are."""

import subprocess
import sys

import pytest

from medseg.bundle import tasks

pytestmark = pytest.mark.seconds

# What no task needs to turn an image into a mask in the default formats.
HEAVY = {
    *("cv2", "highdicom", "itk", "jsonschema", "matplotlib", "mlflow", "onnx", "pandas", "sklearn"),
    *("scipy.signal", "scipy.stats", "sympy", "torch._dynamo", "torch.distributed.optim"),
}
# A volume is written by nibabel, which imports the others.
OF_VOLUMES = {"nibabel", "pydicom", "gdcm", "requests"}

SEGMENT = """
import sys
from medseg.cli import main
task, image, out, *heavy = sys.argv[1:]
assert main(["segment", task, image, "-o", out]) == 0
print("imported:", *sorted(set(heavy) & set(sys.modules)))
"""

MONAI = """
import sys
from medseg.deferred import _IMPORTERS, _WAITING, Deferred, import_monai

import_monai()
assert not set(_WAITING) & set(sys.modules), set(_WAITING) & set(sys.modules)

def held():
    patient = [found for name, found in list(sys.modules.items()) if name.partition(".")[0] in _IMPORTERS]
    pairs = [(holder, name) for holder in patient for name in vars(holder)]
    return [(holder, name) for holder, name in pairs if type(vars(holder)[name]) is Deferred]
"""


def run(code, *arguments):
    found = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def images(tmp_path_factory, chest_phantom):
    """Task to an image of it."""
    from fundus_pictures import phantom, write_png

    from medseg.io import nifti
    from medseg.phantoms import example_ultrasound

    folder = tmp_path_factory.mktemp("images")
    write_png(folder / "retina.png", phantom(0)[0])
    nifti.write(chest_phantom.array, chest_phantom.affine, folder / "chest.nii.gz")
    return {
        "retinal_vessel": folder / "retina.png",
        "lung_ct": folder / "chest.nii.gz",
        "breast_ultrasound": example_ultrasound(folder),
    }


@pytest.mark.parametrize("task", tasks())
def test_a_segmentation_imports_what_it_needs(images, task, tmp_path):
    unneeded = HEAVY if task == "lung_ct" else HEAVY | OF_VOLUMES
    said = run(SEGMENT, task, images[task], tmp_path / "out", *unneeded)
    assert said.splitlines()[-1].strip() == "imported:"


@pytest.mark.parametrize(
    "arguments", [("--help",), ("segment", "--help"), ("methods",), ("methods", "lung_ct")]
)
def test_help_and_lists_import_no_torch(arguments):
    code = f"""
import sys
from medseg.cli import main
try:
    main({list(arguments)!r})
except SystemExit:
    pass
print("imported:", *sorted({{"torch", "monai", "scipy", "pydicom"}} & set(sys.modules)))
"""
    assert run(code).splitlines()[-1].strip() == "imported:"


@pytest.mark.slow
def test_all_names_of_monai_are_real_once_used():
    run(
        MONAI
        + """
from medseg.deferred import _real

assert len(held()) > 50
for module, name in held():
    value = vars(module).get(name)
    if type(value) is Deferred:  # else one of its library has been used meanwhile
        getattr(value, "no_such_attribute", None)
        assert vars(module)[name] is _real(value), (module, name)
assert not held()
"""
    )


def test_other_code_sees_the_libraries_themselves():
    run(
        MONAI
        + """
import itk, scipy.signal, torch.distributed.optim
from ignite.engine import Engine
from ignite.handlers import Checkpoint
from monai.data import image_reader
from monai.engines import SupervisedEvaluator

assert type(itk) is not Deferred and "signal" in dir(scipy)
assert image_reader.itk.imread is itk.imread and image_reader.itk is itk
assert issubclass(SupervisedEvaluator, Engine)
assert isinstance(torch.distributed.optim.ZeroRedundancyOptimizer, type)
"""
    )


def test_ignite_knows_a_sharded_optimizer():
    run(
        MONAI
        + """
import ignite.handlers.checkpoint as handlers
known = handlers.ZeroRedundancyOptimizer
assert type(known) is Deferred and not isinstance(3, known)
from torch.distributed.optim import ZeroRedundancyOptimizer
assert handlers.ZeroRedundancyOptimizer is ZeroRedundancyOptimizer
assert issubclass(ZeroRedundancyOptimizer, known)
class Own(known):
    pass
assert Own.__mro__[1] is ZeroRedundancyOptimizer
"""
    )


def test_an_error_of_a_library_is_caught_by_its_name():
    run(
        MONAI
        + """
from monai.bundle import scripts
try:
    scripts.validate(instance="a", schema={"type": "integer"})
except scripts.ValidationError as error:
    assert "integer" in str(error)
else:
    raise AssertionError
"""
    )


def test_a_library_that_is_hidden_stays_hidden():
    run(
        """
import sys
sys.modules["pandas"] = None
from medseg.deferred import import_monai
import_monai()
from monai.data import dataset
from monai.utils import OptionalImportError
try:
    dataset.pd.read_csv
except OptionalImportError:
    assert sys.modules["pandas"] is None
else:
    raise AssertionError
"""
    )


@pytest.mark.slow
def test_a_monai_that_is_imported_already_is_left_as_it_is():
    run(
        "import medseg, monai, medseg.pipeline\n"
        "from medseg.deferred import import_monai\n"
        "import_monai()\n"
        "import sys, itk\n"
        "assert monai.data.image_reader.itk is itk and 'sympy' in sys.modules\n"
    )
