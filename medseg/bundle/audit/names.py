"""What expressions and `_target_` of a configuration may name. All else is refused.

The lists hold what is harmless whatever its arguments are: nothing in them runs, imports or unpickles what an
argument names, opens a connection, or writes besides results into the folder that it is given.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from medseg.bundle.audit import monai_names

_BUILTINS = """
    False None True abs all any bool dict divmod enumerate float frozenset int isinstance len list max min
    range reversed round set slice sorted str sum tuple zip
"""
BUILTINS = frozenset(_BUILTINS.split())
# Modules that `$import` may bind, by the names that they get. MONAI itself binds monai, torch, np and numpy.
MODULES = {
    "monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy", "math": "math", "random": "random",
    "skimage": "skimage", "torch.distributed": "torch.distributed",
}  # fmt: skip
# What `$from module import name` may bind, besides names of medseg.
IMPORTED = {"pathlib": {"Path"}, "functools": {"partial"}, "collections": {"OrderedDict"}}

_TORCH = """
    abs argmax argmin bfloat16 bool cat channels_last channels_last_3d clamp contiguous_format device
    double exp finfo float float16 float32 float64 ge gt half int int16 int32 int64 int8 isfinite le
    linspace log long lt max mean min ones sigmoid sign softmax stack strided sum tensor uint8 where zeros
"""
_MATH = "ceil e exp floor inf isfinite log log2 nan pi pow sqrt tau"
_NUMPY = """
    abs arange array asarray bool_ ceil clip concatenate float16 float32 float64 floor inf int16 int32
    int64 int8 linspace log max mean min nan ones pi prod round sqrt stack sum uint16 uint8 unique where
    zeros
"""
# Members of modules that expressions may use.
DOTTED = frozenset(
    {
        *(f"torch.{name}" for name in _TORCH.split()),
        *(f"numpy.{name}" for name in _NUMPY.split()),
        *(f"math.{name}" for name in _MATH.split()),
        *("random.Random", "random.random", "random.seed", "skimage.__file__"),
        *("torch.cuda.is_available", "torch.cuda.device_count", "torch.cuda.current_device"),
        *("torch.distributed.destroy_process_group", "torch.distributed.get_rank"),
        *("torch.distributed.get_world_size", "torch.distributed.is_initialized"),
        *("monai.handlers.from_engine", "monai.utils.set_determinism", "monai.data.list_data_collate"),
        *("monai.data.pad_list_data_collate", "monai.data.decollate_batch"),
        *("monai.networks.one_hot", "monai.networks.utils.one_hot", "monai.networks.copy_model_state"),
        "monai.networks.utils.copy_model_state",
        *("monai.config.print_config", "monai.__version__", "torch.__version__", "numpy.__version__"),
    }
)
# Attributes and methods of any value: of data, of a network, of an engine. Not replace and copy, which texts
# and lists have, but paths too.
_ATTRIBUTES = """
    batch buffers children count cpu cuda detach device dims dtype encoder endswith epoch eval exists
    extend float get half index item items iteration join keys long lower lstrip lr max mean metrics min
    module name named_buffers named_children named_modules named_parameters ndim numel numpy output
    parameters parent parts permute removeprefix removesuffix reshape rstrip run sample shape size split
    squeeze startswith state state_dict stem step strip suffix sum title to tolist train transpose type
    unsqueeze update upper values
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
# Packages of medseg of which every public class and function may be built, and members of others.
_WHOLE = {
    "transforms",
    "postprocessing",
    "methods",
    "inference",
    "measurements",
    "metrics",
    "quality",
    "phantoms",
}
_MODULES = {
    *("data.samples", "data.picture_targets", "data.made", "data.silver", "data.manifests"),
    *("evaluation.split", "evaluation.scoring", "evaluation.case_scores", "evaluation.object_scores"),
    *("training.run", "training.folds", "training.fitting", "training.mixing"),
}
_MEMBERS = {
    *(
        "pipeline.SaveResults",
        "pipeline.ResultBuilder",
        "pipeline.run_each",
        "io.case_names",
        "io.find_inputs",
    ),
    *(
        "bundle.check_arguments",
        "bundle.find",
        "bundle.given_path",
        "bundle.load_network",
        "bundle.load_weights",
    ),
    *("bundle.weights_files", "bundle.configuration", "bundle.changed_configuration"),
}
_IGNITE = re.compile(
    r"ignite\.metrics(\.[a-z_]\w*)*\.[A-Z]\w*"
    r"|ignite\.handlers\.(EarlyStopping|ProgressBar|TerminateOnNan|Timer|ParamScheduler|LRScheduler)"
    r"|ignite\.contrib\.handlers\.ProgressBar"
)
_TORCH_CLASS = re.compile(r"torch\.(nn|optim)(\.[a-z]\w*)*\.[A-Z]\w*|torch\.utils\.data\.[A-Z]\w*")
_PACKAGE = Path(__file__).parents[2]
_FUNCTIONS = {name for name in DOTTED if "__" not in name}


def is_allowed_target(name: str) -> bool:
    """Whether a configuration may build or call what `_target_` names."""
    if not name.isascii() or "__" in name or not all(part.isidentifier() for part in name.split(".")):
        return False
    package, _, rest = name.partition(".")
    if not rest:
        return monai_names.is_known(name)
    if package == "medseg":
        return is_allowed_medseg(rest)
    if package == "monai":
        return name in _FUNCTIONS or _is_monai_class(rest)
    if package == "torch":
        return name in _FUNCTIONS or (bool(_TORCH_CLASS.fullmatch(name)) and _is_module("torch", name))
    return bool(_IGNITE.fullmatch(name)) and _is_module("ignite", name)


def is_misspelt(name: str) -> bool:
    """Whether a target is in a module of medseg that may be named, which does not have that name."""
    if not name.startswith("medseg.") or name.count(".") < 2 or is_allowed_target(name):
        return False
    *modules, last = name.split(".")[1:]
    if not all(part.isidentifier() for part in (*modules, last)):
        return False
    if last.startswith("_"):  # every module has __builtins__ and the like, and its text does not name them
        return False
    if modules[0] not in _WHOLE and ".".join(modules) not in _MODULES:
        return False
    file = _module_file(_PACKAGE, tuple(modules))
    is_module = _module_file(_PACKAGE, (*modules, last)) is not None
    return file is not None and not is_module and not re.search(rf"\b{last}\b", file.read_text("utf-8"))


def _is_monai_class(rest: str) -> bool:
    parts = rest.split(".")
    known = parts[0] in monai_names.PACKAGES and monai_names.is_known(parts[-1])
    return known and _is_module("monai", f"monai.{rest}")


def _is_module(package: str, name: str) -> bool:
    """Whether all but the last part of a dotted name is a module of the package, not a name inside of one."""
    spec = find_spec(package)  # finds the package without importing it
    if spec is None or not spec.submodule_search_locations:
        return False
    return _module_file(Path(spec.submodule_search_locations[0]), tuple(name.split(".")[1:-1])) is not None


@cache
def _module_file(package: Path, parts: tuple[str, ...]) -> Path | None:
    place = package.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def is_allowed_medseg(rest: str) -> bool:
    """Whether a configuration may name a member of medseg, such as `transforms.LoadVolumed`.

    It has to be defined in that module, or named in that package: `medseg.inference.devices.os` is neither.
    """
    *modules, name = rest.split(".")
    dotted = ".".join(modules)
    if name.startswith("_") or not modules:
        return False
    if rest in _MEMBERS:
        return True
    if modules[0] not in _WHOLE and dotted not in _MODULES:
        return False
    file = _module_file(_PACKAGE, tuple(modules))
    if file is None:
        return False
    text = file.read_text(encoding="utf-8")
    return bool(re.search(rf"^(class|def) {re.escape(name)}\b", text, re.MULTILINE)) or (
        file.name == "__init__.py" and _is_exported(name, text)
    )


def _is_exported(name: str, text: str) -> bool:
    """Whether a package's __init__ imports a name from a module of medseg, and it is no module itself."""
    found = re.search(
        rf"^from medseg\.([\w.]+) import (?:\([^)]*|.*)\b{re.escape(name)}\b", text, re.MULTILINE
    )
    return bool(found) and _module_file(_PACKAGE, (*found[1].split("."), name)) is None  # type: ignore[index]


def is_allowed_import(module: str, name: str | None) -> bool:
    """Whether `$import module` (name is None) or `$from module import name` may stand in a configuration."""
    if name is None:
        return module in MODULES.values()
    if module.startswith("medseg."):
        return is_allowed_medseg(f"{module.removeprefix('medseg.')}.{name}")
    return name in IMPORTED.get(module, ())
