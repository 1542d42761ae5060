"""Import MONAI without the optional libraries that it imports; each of them is imported on first use.

MONAI imports every optional library that it finds: pandas, matplotlib, itk, scikit-learn. While MONAI is
imported, a Deferred object stands in for each of them, and MONAI's modules keep it. On first use the Deferred
imports the library and is replaced by it. Other code never gets a Deferred: after the import of MONAI,
sys.modules holds none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

# The modules that are deferred, and the names that MONAI and Ignite import from each.
_WAITING: Mapping[str, Sequence[str]] = {
    "cv2": (),
    "itk": (),
    "jsonschema": ("validate",),
    "jsonschema.exceptions": ("ValidationError",),
    "matplotlib": ("pyplot",),
    "matplotlib.pyplot": (),
    "mlflow": (),
    "mlflow.entities": (),
    "mlflow.exceptions": ("MlflowException",),
    "nibabel": (),
    "nibabel.nifti1": ("Nifti1Image",),
    "pandas": ("DataFrame",),
    "pydicom": (),
    "requests": ("get",),
    "scipy.optimize": ("linear_sum_assignment",),
    "scipy.signal": ("hilbert", "iirnotch"),
    "scipy.sparse": ("csc_matrix", "csr_matrix"),
    "scipy.sparse.csgraph": ("dijkstra",),
    "scipy.sparse.linalg": ("cg", "spsolve"),
    "scipy.spatial": ("KDTree",),
    "skimage.exposure": (),
    "skimage.measure": ("centroid", "find_contours"),
    "skimage.morphology": ("disk", "opening"),
    "skimage.segmentation": ("watershed",),
    "sklearn": (),
    "sklearn.linear_model": ("LogisticRegression",),
    "sklearn.metrics": ("silhouette_score",),
    "tifffile": ("TiffFile",),
    # Sharded optimizers, and with them sympy, which Ignite imports to recognise one class.
    "torch.distributed.optim": ("ZeroRedundancyOptimizer",),
}
# The libraries that get a Deferred for such a name; for any other importer the library is imported at once.
_IMPORTERS = ("monai", "ignite")


def import_monai() -> bool:
    """Import the parts of MONAI that a segmentation needs, without the libraries of _WAITING.

    Returns:
        False where MONAI was already imported, so that nothing was done.
    """
    if "monai" in sys.modules:
        return False
    with _deferred(_WAITING), _uncollected():
        for part in ("monai.bundle", "monai.inferers"):
            import_module(part)
    return True


class Deferred:
    """Stands in for a module, or for a name in it, until it is used.

    Args:
        module: its full name.
        name: of an object in it; None for the module itself.
    """

    def __init__(self, module: str, name: str | None = None) -> None:
        self._module = module
        self._name = name
        self.__file__ = __file__  # MONAI treats a module without __file__ as missing
        self.__spec__ = None  # the import system reads it

    def __getattr__(self, name: str) -> Any:
        if self._name is None and _is_asked_by_importer():
            if name == "__path__":  # `from module import name` asks whether it is a package
                raise AttributeError(name)
            if name in _WAITING[self._module]:
                return Deferred(self._module, name)
        return getattr(_replace(self), name)

    def __call__(self, *values: Any, **named: Any) -> Any:
        return _replace(self)(*values, **named)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, _replace(self))

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, _replace(self))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_replace(self),)


@contextmanager
def _deferred(names: Iterable[str]) -> Iterator[None]:
    """Within the block, importing an installed module of `names` for the first time gives a Deferred."""
    waiting = {name: Deferred(name) for name in names if name not in sys.modules and _is_installed(name)}
    modules: dict[str, Any] = sys.modules  # the import system takes any object
    modules.update(waiting)
    try:
        yield
    finally:
        for name, stand_in in waiting.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Within the block, the garbage collector is off: hardly anything that an import creates is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_installed(name: str) -> bool:
    library = _library(name)
    return sys.modules[library] is not None if library in sys.modules else find_spec(library) is not None


def _is_asked_by_importer() -> bool:
    """Whether it is MONAI or Ignite that asks a Deferred for an attribute."""
    return _library(sys._getframe(2).f_globals.get("__name__", "")) in _IMPORTERS


def _replace(deferred: Deferred) -> Any:
    """Import what a Deferred stands in for, and replace every Deferred of the same library that can be.

    An `except` clause can't use a Deferred. Replacing all of a library on first use suffices for that: only a
    library that has been used can raise its errors.
    """
    real = _real(deferred)
    for holder in [module for name, module in list(sys.modules.items()) if _library(name) in _IMPORTERS]:
        for name, value in list(vars(holder).items()):
            if type(value) is Deferred and _library(value._module) == _library(deferred._module):
                setattr(holder, name, _if_imported(value))
    return real


def _if_imported(deferred: Deferred) -> Any:
    """The object that a Deferred stands in for if it is already imported, else the Deferred."""
    module = sys.modules.get(deferred._module, deferred)
    if isinstance(module, Deferred) or deferred._name is None:
        return module
    return getattr(module, deferred._name, deferred)


def _real(deferred: Deferred) -> Any:
    if isinstance(sys.modules.get(deferred._module), Deferred):
        del sys.modules[deferred._module]
    module = import_module(deferred._module)
    if deferred._name is None:
        return module
    try:
        return getattr(module, deferred._name)
    except AttributeError:  # a submodule that is not yet imported, such as matplotlib's pyplot
        return import_module(f"{deferred._module}.{deferred._name}")


def _library(module: str) -> str:
    return module.partition(".")[0]
