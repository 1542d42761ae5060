"""Arrows between modules point one way, and only named modules import heavy libraries."""

import ast
import re

import pytest
from doc_pages import ROOT, rows

PACKAGE = ROOT / "medseg"
TESTS = ROOT / "tests"
NO_TESTS = {"benchmarks", "out_of_fold"}  # programs that measure, and what one of them has predicted
# Modules that all may import.
EVERYWHERE = {"case", "errors", "volume"}

# In the order of the flow: what each module or package may import of medseg, besides itself and these. Only
# what stands above it may be named.
ALLOWED = {
    "errors": set(),
    "volume": set(),
    "case": set(),
    "colours": set(),
    "console": set(),
    "boxes": set(),
    "morphology": {"boxes"},
    "grid": {"boxes"},
    "instances": set(),
    "filling": set(),
    "modes": {"instances"},
    "deferred": set(),
    "stamp": set(),
    "io": {"colours", "console", "instances", "stamp"},
    "sources": {"io"},
    "bundle": {"console", "io"},
    "provenance": {"bundle", "io"},
    "quality": {"bundle", "io"},
    "transforms": {"bundle", "filling", "grid", "io", "quality"},
    "methods": {"boxes", "filling", "morphology"},
    "inference": {"bundle", "io"},
    "postprocessing": {"boxes", "grid", "methods", "morphology", "transforms"},
    "measurements": {"boxes", "instances", "morphology"},
    "metrics": set(),
    "reports": {"colours", "io", "stamp"},
    "formats": set(),
    "outputs": {"formats", "io", "modes", "reports", "stamp"},
    "dicom_outputs": {"io", "outputs"},
    "pipeline": {
        *("bundle", "deferred", "inference", "io", "modes", "outputs", "provenance", "quality", "sources"),
    },
    "archive": {"io"},
    "mercure": {"formats", "io", "outputs", "pipeline"},
    "workers": {"deferred", "io", "outputs", "pipeline", "sources"},
    "propagation": {"io", "measurements", "methods", "outputs", "provenance", "quality", "reports", "stamp"},
    "phantoms": set(),
    "data": {"bundle", "grid", "inference", "io", "methods", "morphology", "phantoms", "transforms"},
    "similarity": {"boxes", "bundle", "console", "data", "deferred", "inference", "io", "reports"},
    "tracking": {"bundle", "io"},
    "evaluation": {
        "bundle",
        "console",
        "data",
        "inference",
        "io",
        "metrics",
        "pipeline",
        "reports",
        "tracking",
    },
    "drift": {"bundle", "evaluation", "io", "metrics", "quality", "reports"},
    "training": {
        "bundle",
        "console",
        "data",
        "evaluation",
        "inference",
        "io",
        "methods",
        "metrics",
        "pipeline",
        "quality",
        "tracking",
    },
    "tuning": {"bundle", "console", "data", "evaluation", "io", "pipeline", "tracking", "training"},
    "planning": {"bundle", "console", "data", "io", "quality"},
    "review": {"bundle", "console", "deferred", "formats", "io", "modes", "outputs", "reports", "sources"},
    "cohort": {
        *("bundle", "console", "data", "drift", "formats", "io", "modes", "reports", "review", "sources"),
        *("tracking", "workers"),
    },
    "follow_up": {
        *("boxes", "bundle", "colours", "instances", "io", "measurements", "morphology", "outputs"),
        *("phantoms", "quality", "reports", "sources"),
    },
    "server": {"archive", "bundle", "formats", "io", "modes", "reports", "workers"},
    "verification": {"bundle", "deferred", "formats", "io", "provenance", "reports", "sources", "stamp"},
    "testing": {"bundle", "io", "outputs", "pipeline"},
    "cli": {
        *(
            "archive",
            "mercure",
            "bundle",
            "cohort",
            "console",
            "data",
            "deferred",
            "drift",
            "evaluation",
            "follow_up",
            "formats",
            "instances",
            "io",
            "methods",
            "modes",
            "outputs",
            "pipeline",
            "planning",
            "propagation",
            "quality",
            "review",
            "server",
            "similarity",
            "sources",
            "tracking",
        ),
        *("training", "tuning", "verification", "workers"),
    },
    "__init__": {
        "io",
        "outputs",
        "pipeline",
        "propagation",
    },  # by name, on first use; for type checkers alone
}

# Library to the modules that may import it.
ONLY_IN = {
    "nibabel": {"io"},
    "tifffile": {"io"},
    "PIL": {"io", "reports"},
    "pydicom": {"archive", "io", "phantoms"},
    "pynetdicom": {"archive", "server"},
    "httpx": {"archive"},
    "fastapi": {"server"},
    "uvicorn": {"server"},
    "prometheus_client": {"server"},
    "highdicom": {"io"},
    "itk": {"io", "transforms"},
    "mlflow": {"evaluation", "tracking", "training"},
    "ignite": {"data", "evaluation", "inference", "pipeline", "training"},
    "jinja2": {"planning", "reports"},
    "matplotlib": {"evaluation", "training", "tuning"},
    "optuna": {"tuning"},
    "sqlalchemy": {"tuning"},
    "psutil": {"tracking"},
    "rich": {"console"},
    "shtab": {"cli"},
    "openvino": {"inference"},
    "faiss": {"similarity"},
    "SimpleITK": {"follow_up"},
    "pyarrow": {"cohort"},
    "ray": {"cohort"},
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


def test_the_table_runs_one_way():
    order = list(ALLOWED)
    upwards = [(name, other) for name, others in ALLOWED.items() for other in others]
    assert [pair for pair in upwards if order.index(pair[0]) <= order.index(pair[1])] == []


@pytest.mark.seconds
def test_no_circle_of_modules():
    """Not inside packages either, and not for type checkers alone."""
    assert circles(graph()) == []


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def graph():
    """Module to the modules of medseg that it imports; a package's __init__ goes by the package's name."""
    names = {dotted(file): file for file in modules()}
    found = {}
    for name, file in names.items():
        targets = set()
        for imported in imports(file):
            parent = imported.rpartition(".")[0]
            targets |= {imported if imported in names else parent} & set(names)
        found[name] = targets - {name, "medseg"}
    return found


def dotted(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles(arrows):
    """Groups of nodes that lead to each other, sorted."""

    def reachable(start):
        seen, waiting = set(), [start]
        while waiting:
            for node in arrows[waiting.pop()] - seen:
                seen.add(node)
                waiting.append(node)
        return seen

    reach = {node: reachable(node) for node in arrows}
    found = {
        tuple(sorted({node} | {o for o in reach[node] if node in reach[o]}))
        for node in arrows
        if node in reach[node]
    }
    return sorted(map(list, found))


@pytest.mark.seconds
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


# What these do is the same for every task: what is special about one stands in its bundle.
KNOW_NO_ORGAN = (
    *("bundle", "cohort", "drift", "evaluation", "inference", "metrics", "planning", "reports", "tracking"),
    *("training", "tuning", "boxes.py", "case.py", "formats.py", "grid.py", "instances.py", "modes.py"),
    *("morphology.py", "data/samples.py"),
    *("outputs.py", "pipeline.py", "volume.py", "data/cache.py", "data/manifests.py"),
    *("data/picture_targets.py", "postprocessing/labels.py", "postprocessing/picture_components.py"),
    *("postprocessing/picture_outputs.py", "quality/inspection.py", "quality/ranges.py"),
)
ORGANS = re.compile(
    "(lung|chest|airway|trachea|lesion|breast|vessel|retina|fundus|malign|benign|kidney|nodule|pathology)"
)


def words_of_code(file):
    """Names and texts of a module, without docstrings and comments, where examples may stand."""
    tree = ast.parse(file.read_text())
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    docstrings = {
        id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, documented) and ast.get_docstring(n)
    }
    for node in ast.walk(tree):
        for name in ("id", "attr", "arg", "name"):
            if isinstance(value := getattr(node, name, None), str):
                yield value
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("part", KNOW_NO_ORGAN)
def test_what_is_shared_knows_no_organ(part):
    files = [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    assert files
    told = {word for file in files for word in words_of_code(file) if ORGANS.search(word.lower())}
    assert told == set()


def test_the_architecture_page_has_every_package_in_order():
    found = rows(ROOT / "docs" / "architecture.md", "package or module")
    names = [name.removesuffix("/").removesuffix(".py") for name in found if name.endswith(("/", ".py"))]
    assert names == [name for name in ALLOWED if name != "__init__"]


def files_of_tests():
    """All but the folders without tests; hidden folders and caches are nobody's."""
    files = (file.relative_to(TESTS) for file in TESTS.rglob("*.py"))
    return sorted(file for file in files if file.parts[0] not in NO_TESTS)


def test_folders_of_tests_are_those_of_the_package():
    folders = {file.parent for file in files_of_tests()}
    assert len(folders) > 15
    assert [folder for folder in folders if not (PACKAGE / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("file", files_of_tests(), ids=str)
def test_no_test_imports_a_test(file):
    """What several share is a module at the top of tests/, or a fixture."""
    shared = {module.stem for module in TESTS.glob("*.py")}
    found = [name.split(".")[0] for name in imports(TESTS / file)]
    assert [name for name in found if name.startswith("test_") or name in ("tests", "conftest")] == []
    if len(file.parts) > 1 and file.name != "conftest.py":
        assert file.stem.startswith("test_")
        assert file.stem not in shared
