"""Arrows between modules point one way, and only named modules import heavy libraries."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medseg"
# Modules that all may import.
EVERYWHERE = {"case", "errors", "volume"}

# What each module or package may import of medseg, besides itself and these.
ALLOWED = {
    "__init__": {"io", "outputs", "pipeline"},  # by name, on first use; for type checkers alone
    "errors": set(),
    "volume": set(),
    "terminal": set(),
    "deferred": set(),
    "colours": set(),
    "instances": set(),
    "io": {"colours"},
    "fundus": set(),
    "ultrasound": set(),
    "losses": set(),
    "ct": set(),
    "boxes": set(),
    "grid": {"boxes"},
    "phantoms": set(),
    "classical": {"boxes"},
    "measurements": {"instances"},
    "case": set(),
    "metrics": set(),
    "calibration": set(),
    "roc": {"metrics"},
    "surface": {"metrics"},
    "statistics": {"metrics"},
    "quality": {"ct", "fundus", "io", "ultrasound"},
    "networks": set(),
    "joining": {"boxes", "classical", "grid"},
    "postprocessing": {"boxes", "classical", "grid"},
    "bundle": {"io", "networks"},
    "inference": {"io"},
    "transforms": {"ct", "fundus", "grid", "io", "ultrasound"},
    "reports": {"colours", "io"},
    "outputs": {"instances", "io", "reports"},
    "pipeline": {"bundle", "deferred", "inference", "io", "outputs", "quality"},
    "training": {
        *("bundle", "classical", "grid", "inference", "io", "metrics", "phantoms", "reports", "statistics"),
        *("calibration", "pipeline", "roc", "surface"),
    },
    "cli": {"bundle", "deferred", "io", "outputs", "pipeline", "quality", "terminal", "training"},
}

# Library to the modules that may import it.
ONLY_IN = {
    "nibabel": {"io"},
    "tifffile": {"io"},
    "PIL": {"io", "reports"},
    "pydicom": {"io", "phantoms"},
    "highdicom": {"io"},
    "itk": {"io"},
    "mlflow": {"training"},
    "ignite": {"training", "pipeline"},
    "jinja2": {"reports"},
    "matplotlib": {"training"},
    "psutil": {"training"},
    "tqdm": {"cli", "training"},
    "openvino": {"inference"},
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def part(file):
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_is_in_the_table():
    assert {part(file) for file in modules()} == set(ALLOWED)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_arrows(file):
    own = part(file)
    for name in imports(file):
        if name.startswith("medseg."):
            target = name.split(".")[1]
            known = target in ALLOWED
            assert not known or target in ALLOWED[own] | EVERYWHERE | {own}, f"{own} imports {name}"
        library = name.split(".")[0]
        assert own in ONLY_IN.get(library, {own}), f"{own} imports {library}"


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_size_and_manners(file):
    source = file.read_text()
    assert len(source.splitlines()) <= 400
    tree = ast.parse(source)
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"library code checks input by raising, not by assert: lines {asserts}"
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 70
    ]
    assert not long
