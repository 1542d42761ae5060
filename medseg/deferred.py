"""Import MONAI, and each of the libraries that it merely might need when it does need it.

MONAI imports every optional library that it finds: pandas, matplotlib, itk, scikit-learn. While MONAI is
imported, a Deferred stands in for each of them, and stays in the place where MONAI has put it. It imports the
library when it is used, and then gives way to it. Other code never sees one: once MONAI is imported, none is
left in sys.modules.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

# What waits until it is used, and the names that MONAI takes out of it beforehand.
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
# Who is given a name that waits; for all others the library is imported at once.
_PATIENT = ("monai", "ignite")


def import_monai() -> bool:
    """Import what of MONAI a segmentation takes, with the libraries of _WAITING left for later.

    Returns:
        False where MONAI was there already, and nothing was done.
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
        self.__file__ = __file__  # a module without one is none to MONAI
        self.__spec__ = None  # the import system reads it

    def __getattr__(self, name: str) -> Any:
        if self._name is None and _asked_by_patient():
            if name == "__path__":  # `from module import name` asks whether it is a package
                raise AttributeError(name)
            if name in _WAITING[self._module]:
                return Deferred(self._module, name)
        return getattr(_give_way(self), name)

    def __call__(self, *values: Any, **named: Any) -> Any:
        return _give_way(self)(*values, **named)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, _give_way(self))

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, _give_way(self))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_give_way(self),)


@contextmanager
def _deferred(names: Iterable[str]) -> Iterator[None]:
    """Meanwhile an import of a module that is installed and not yet imported gives a Deferred."""
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
    """Meanwhile no search for cyclic garbage: what an import makes, it makes to stay."""
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


def _asked_by_patient() -> bool:
    """Whether it is MONAI or Ignite that asks a Deferred for an attribute."""
    return _library(sys._getframe(2).f_globals.get("__name__", "")) in _PATIENT


def _give_way(deferred: Deferred) -> Any:
    """Import what a Deferred stands in for, and put in their places it and what else of its library is there.

    With all else, because `except` takes no Deferred: whoever could raise an error of a library has used it.
    """
    real = _real(deferred)
    for holder in [module for name, module in list(sys.modules.items()) if _library(name) in _PATIENT]:
        for name, value in list(vars(holder).items()):
            if type(value) is Deferred and _library(value._module) == _library(deferred._module):
                setattr(holder, name, _if_imported(value))
    return real


def _if_imported(deferred: Deferred) -> Any:
    """What a Deferred stands in for where that is imported already, else the Deferred."""
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
    except AttributeError:  # a module in it that has yet to be imported, such as matplotlib's pyplot
        return import_module(f"{deferred._module}.{deferred._name}")


def _library(module: str) -> str:
    return module.partition(".")[0]
