"""The cache: nothing stale, nothing shared that a transform may write into, nothing half written."""

import importlib
import json
import math
import multiprocessing
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import cached_transforms
import numpy as np
import pytest
import torch
from cached_transforms import (
    Add,
    Colour,
    MadeAlike,
    MadeByReduce,
    Overwrite,
    Quiet,
    RandomInPlace,
    Subtract,
    WriteInPlace,
    dataset,
    from_configuration,
    halved,
    key,
    load,
    scaled,
    scaled_by_default,
    store_all,
)
from fundus_pictures import write_png
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CopyItemsd,
    Flipd,
    Lambdad,
    RandGaussianNoised,
    ResizeWithPadOrCropd,
    Rotate90d,
    Rotated,
    Spacingd,
)
from monai.utils import GridSampleMode, InterpolateMode

from medseg.data import cache
from medseg.data.cache import Cache, transform_digest
from medseg.data.samples import PreparedDataset
from medseg.errors import DataError, MedsegError, UsageError
from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
    NormalizeFieldOfViewd,
    ResizeFieldOfViewd,
    RestoreFieldOfViewd,
)

DAY = 24 * 3600


@pytest.fixture
def item(tmp_path):
    """A bright disc and its label, which a test may change."""
    write_disc(tmp_path, radius=20)
    return {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "label.png"), "subject": "a"}


def write_disc(folder, radius):
    rows, columns = np.ogrid[:64, :64]
    inside = np.hypot(rows - 32, columns - 32) < radius
    write_png(folder / "image.png", np.where(inside, 100, 0).astype(np.uint8))
    write_png(folder / "label.png", inside.astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def stored(folder, item):
    """What Cache gives for a new item, first and from the file."""
    made = Cache(folder).get("key", lambda: item)
    found = Cache(folder).get("key", pytest.fail)
    return made, found


# --- keys ---


def test_a_key_stays(item, folder):
    assert key(item, folder) == key(dict(item), folder, load())
    os.utime(item["image"], (1, 1))
    assert key(item, folder) == key(item, folder)


def test_content_is_in_the_key_whatever_size_and_time_say(item, folder):
    before, path = key(item, folder), Path(item["image"])
    was, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    assert key(item, folder) != before


def test_other_entries_and_paths_are_in_the_key(item, folder, tmp_path):
    """The meta data of an image name its file."""
    copied = shutil.copy(item["image"], tmp_path / "copy.png")
    keys = {key({**item, **change}, folder) for change in ({}, {"subject": "b"}, {"image": str(copied)})}
    swapped = {**item, "image": item["label"], "label": item["image"]}
    assert len(keys | {key(swapped, folder)}) == 4


@pytest.mark.seconds
def test_transforms_are_in_the_key_with_class_parameters_and_order(item, folder):
    pipelines = [
        [load()],
        [load(channels=1)],
        [load(), Add("image")],
        [load(), Add("image", 2)],
        [load(), Add("image", 2.0)],
        [load(), Add("label")],
        [load(), Subtract("image")],
        [load(), Add("image"), Subtract("image")],
        [load(), Subtract("image"), Add("image")],
        [load(), Add("image"), Add("image")],
    ]
    assert len({key(item, folder, *steps) for steps in pipelines}) == len(pipelines)
    assert len({key(item, folder, *steps) for steps in pipelines for _ in range(2)}) == len(pipelines)


def test_random_transforms_are_not(item, folder):
    """Another augmentation finds what an earlier training prepared."""
    assert key(item, folder, load(), RandGaussianNoised("image", std=1.0)) == key(item, folder, load())


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(halved, by=2), partial(halved, by=3)),
        (Add("a", 1).add, Add("a", 2).add),
        (Add("a").add, Add("a").subtract),
        (scaled(1), scaled(2)),
        (scaled_by_default(1), scaled_by_default(2)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x, lambda *x: x),
        (lambda x: x.mean(), lambda x: x.sum()),
        (from_configuration(factor=2), from_configuration(factor=3)),
        (from_configuration(factor="$abs"), from_configuration(factor="$len")),
        (Add("a", np.zeros(2)), Add("a", np.ones(2))),
        (math.sqrt, math.exp),
        (np.sqrt, np.square),
        (torch.sqrt, torch.exp),
        (halved, abs),
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "c": 2}}),
        ([[1], 2], [[1, 2]]),
        ({1: 2}, {"1": 2}),
        ([1, 2], (1, 2)),
        (1, True),
        (1, 1.0),
        ("1", 1),
        (None, "None"),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(4), np.zeros((2, 2))),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (np.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.ones(2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
        (np.array([1, "a"], object), np.array([2, "a"], object)),
        (Add, Subtract),
        (torch.float32, torch.float64),
        (PurePosixPath("a"), PurePosixPath("b")),
        (slice(1, 2), slice(1, 3)),
        (MadeByReduce(), MadeAlike()),
        (GridSampleMode.NEAREST, InterpolateMode.NEAREST),
    ],
)
def test_parameters_that_differ(one, other):
    assert None not in (transform_digest(one), transform_digest(other))
    assert transform_digest(one) != transform_digest(other)
    assert transform_digest(one) == transform_digest(one)


@pytest.mark.parametrize(
    "make",
    [
        Quiet,
        lambda: Add("image", Quiet()),
        lambda: scaled(2),
        lambda: partial(halved, by=2),
        lambda: Add("image").add,
        torch.nn.ReLU,
        lambda: torch.ones(3, requires_grad=True),
        lambda: np.array([1000.5, {"a": 1}], object),
        lambda: from_configuration(factor=2, other=np.random.default_rng().random()),
        lambda: {f"{number}" for number in range(20)},
    ],
)
def test_parameters_that_are_equal(make):
    first, second = make(), make()
    assert first is not second
    assert transform_digest(first) == transform_digest(second) is not None


def test_what_defies_description_is_not_cached(item, folder, caplog):
    class Local(Add):
        pass

    def recursive(tensor):
        return recursive(tensor) if tensor.numel() > 1e9 else tensor

    for parameter in (threading.Lock(), (value for value in [1]), Local("image"), recursive):
        assert transform_digest(Add("image", parameter)) is None
    prepared = dataset(item, folder, load(), Lambdad("image", recursive))
    assert torch.equal(prepared[0]["image"], dataset(item, None)[0]["image"])
    assert not folder.exists()
    assert "no cache: a transform can't be described" in caplog.text


@pytest.mark.seconds
def test_every_process_describes_alike(item, folder):
    """With other addresses, another seed of hashes and another order of imports."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]; import json, cached_transforms as t\n"
        "from medseg.data.cache import transform_digest\n"
        "class Typed(t.Add): pass\n"
        "keys = [transform_digest(step) for step in t.transforms()]\n"
        "keys += [t.key(json.loads(sys.argv[2]), sys.argv[3]), transform_digest(Typed('a'))]\n"
        "print(json.dumps(keys))"
    )
    first, second = (
        subprocess.run(
            [
                sys.executable,
                "-c",
                before + code,
                Path(cached_transforms.__file__).parent,
                json.dumps(item),
                folder,
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for before, seed in (("", "7"), ("import medseg.data.samples, sqlite3\n", "8"))
    )
    *keys, typed_in = json.loads(first.stdout)
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert json.loads(second.stdout) == [*keys, None]
    assert typed_in is None


BASE = "class Base:\n  def __call__(self, x): return x + 1\n"
HELPER = "FACTOR = 2\ndef double(x): return FACTOR * x\n"
STEPS = """
from own_base import Base
from own_helper import FACTOR, double
class Step(Base):
    def __call__(self, x): return double(x) + FACTOR
"""


@pytest.mark.seconds
@pytest.mark.parametrize(
    "changed",
    [
        {"own_steps": STEPS.replace("+ FACTOR", "- FACTOR")},
        {"own_base": BASE.replace("+ 1", "+ 2")},
        {"own_helper": HELPER.replace("= 2", "= 3")},
    ],
)
def test_the_source_of_own_modules_is_in_the_key(changed, tmp_path, monkeypatch):
    """Of the transform, of its base class, and of what it calls."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sources = {"own_base": BASE, "own_helper": HELPER, "own_steps": STEPS}

    def digests(changed):
        for name, text in {**sources, **changed}.items():
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        steps = importlib.import_module("own_steps")
        imported = ConfigParser({"imports": "$from own_helper import double", "f": "$lambda x: double(x)"})
        imported.get_parsed_content("imports")
        functions = [steps.double, lambda x: steps.double(x), imported.get_parsed_content("f")]
        return [transform_digest(step) for step in (steps.Step(), *(Lambdad("a", f) for f in functions))]

    first = digests({})
    assert digests({}) == first
    assert not set(digests(changed)) & {*first, None}
    for name in sources:
        sys.modules.pop(name)


@pytest.mark.seconds
def test_the_script_is_in_the_key_of_what_it_defines(tmp_path):
    script = (
        "import cached_transforms as t\nfrom medseg.data.cache import transform_digest as digest\n"
        "RATE = 1\nclass Own(t.Add): pass\n"
        "print(digest(Own('a')), digest(t.Lambdad('a', lambda x: RATE * x)), digest(t.Add('a')))\n"
    )

    def digests(rate):
        (tmp_path / "script.py").write_text(script.replace("RATE = 1", f"RATE = {rate}"))
        path = os.pathsep.join(
            [str(Path(cached_transforms.__file__).parent), os.environ.get("PYTHONPATH", "")]
        )
        command = [sys.executable, tmp_path / "script.py"]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    (own, function, of_a_module), (changed, *others) = digests(1).split(), digests(2).split()
    assert "None" not in (own, function, of_a_module)
    assert own != changed
    assert others[0] != function
    assert others[1] == of_a_module


@pytest.fixture
def new_environment():
    cache._environment.cache_clear()
    yield cache._environment.cache_clear
    cache._environment.cache_clear()


@pytest.mark.seconds
def test_the_source_of_medseg_is_in_the_key(tmp_path, monkeypatch, new_environment):
    package = shutil.copytree(
        Path(cache.__file__).parents[1], tmp_path / "medseg", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(cache, "_PACKAGE", package)
    new_environment()
    before = transform_digest(Add("image"))
    with (package / "io" / "raster.py").open("a") as file:
        file.write("# changed\n")
    new_environment()
    assert transform_digest(Add("image")) != before


def test_the_versions_of_packages_are_in_the_key(monkeypatch, new_environment):
    def digest(**versions):
        found = [SimpleNamespace(name=name, version=version) for name, version in versions.items()]
        monkeypatch.setattr(cache, "distributions", lambda: found)
        new_environment()
        return transform_digest(Add("image"))

    first = digest(torch="2.6.0", numpy="2.1")
    assert digest(numpy="2.1", torch="2.6.0") == first
    assert len({first, digest(torch="2.6.1", numpy="2.1"), digest(torch="2.6.0")}) == 3


# --- files ---


def test_an_item_is_prepared_once(item, folder):
    Cache(folder).get("key", lambda: {"a": 1})
    assert Cache(folder).get("key", pytest.fail) == {"a": 1}
    assert Cache(folder).get("other", lambda: {"a": 2}) == {"a": 2}
    assert sorted(path.name for path in folder.iterdir()) == ["key.pt", "other.pt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[1:],
        lambda content: b"\0" * len(content),
        lambda content: content.replace(b"PK", b"XX"),
        lambda content: pickle.dumps({"a": 2}),
    ],
)
def test_a_damaged_entry_is_made_anew(folder, damage):
    Cache(folder).get("key", lambda: {"a": torch.arange(1000)})
    path = folder / "key.pt"
    path.write_bytes(damage(path.read_bytes()))
    found = Cache(folder).get("key", lambda: {"a": torch.arange(1000)})
    assert torch.equal(found["a"], torch.arange(1000))
    assert torch.equal(Cache(folder).get("key", pytest.fail)["a"], torch.arange(1000))
    assert list(folder.iterdir()) == [path]


class Attack:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_entry_runs_no_code(folder, tmp_path):
    folder.mkdir()
    torch.save({"a": Attack(tmp_path / "ran")}, folder / "key.pt")
    assert Cache(folder).get("key", lambda: {"a": 1}) == {"a": 1}
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError, match="one with a Attack") as error:
        Cache(folder).get("other", lambda: {"a": [Attack(tmp_path / "ran")]})
    assert "cache_dir to null" in error.value.advice
    assert [path.name for path in folder.iterdir()] == ["key.pt"]


def test_a_preparation_that_fails_leaves_nothing(folder):
    def fail():
        raise DataError("a", got="b", advice="C.")

    with pytest.raises(DataError) as error:
        Cache(folder).get("key", fail)
    assert error.value.__context__ is None
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["image", "label"])
def test_a_file_that_changes_after_its_digest(item, folder, name):
    prepared = dataset(item, folder)
    write_png(Path(item[name]), np.ones((64, 64), np.uint8))
    with pytest.raises(DataError) as error:
        prepared[0]
    assert error.value.got == f"{name}.png with another content than at the start"
    assert not list(folder.iterdir())


def test_a_file_that_changes_while_it_is_prepared(item, folder):
    prepared = dataset(item, folder, load(), Overwrite("image", item["image"]))
    with pytest.raises(DataError, match=r"image\.png with another content"):
        prepared[0]
    assert not list(folder.iterdir())


# --- what comes back ---


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int16, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.float64],
)
@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_types_of_tensors(folder, dtype, kind):
    tensor = torch.arange(12).reshape(1, 3, 4).to(dtype)
    label = MetaTensor(tensor) if kind is MetaTensor else tensor
    for found in stored(folder, {"label": label}):
        assert type(found["label"]) is kind
        assert found["label"].dtype is dtype
        assert torch.equal(torch.as_tensor(found["label"]), tensor)


def test_values_that_are_no_tensors(folder):
    plain = {
        "text": "a",
        "none": None,
        "flag": True,
        "numbers": [1, 2.5, math.inf],
        "tuple": (1, ("a", [2])),
        "nested": {"a": {1: {"tensor": 2}}},
        "size": torch.Size([1, 2]),
        "types": [torch.float64, torch.device("cpu")],
    }
    odd = {
        "array": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
        "fixed": np.broadcast_to(np.float32(2), (2, 2)),
        "number": np.float32(1.5),
        "truth": np.bool_(True),
    }
    for found in stored(folder, {**plain, **odd, "kind": Colour.RED, "name": np.str_("b")}):
        assert {name: found[name] for name in plain} == plain
        assert all(type(found[name]) is type(plain[name]) for name in set(plain) - {"size"})
        for name, value in odd.items():
            assert type(found[name]) is type(value)
            assert found[name].dtype == value.dtype
            assert np.array_equal(found[name], value)
        assert (found["kind"], found["name"]) == ("red", "b")
        assert type(found["name"]) is str


def test_a_cut_is_stored_without_what_it_was_cut_from(folder):
    whole = torch.zeros(1000, 1000)
    Cache(folder).get("key", lambda: {"cut": whole[:2], "image": MetaTensor(whole)[:2]})
    assert (folder / "key.pt").stat().st_size < 50_000


def test_meta_data_of_tensors(folder):
    meta = {
        "filename_or_obj": "/data/a.png",
        "field_box": torch.tensor([1, 2, 3, 4]),
        "warnings": "blurred\ndark",
        "spacing": np.array([0.5, 2.0]),
        "none": None,
        "space": "RAS",
    }
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    image = MetaTensor(
        torch.rand(1, 2, 2), affine=affine, meta=meta, applied_operations=[{"class": "A", "n": (1,)}]
    )
    for found in stored(folder, {"image": image, "inside": [{"deep": image}]}):
        for tensor in (found["image"], found["inside"][0]["deep"]):
            assert isinstance(tensor, MetaTensor)
            assert torch.equal(tensor, image)
            assert torch.equal(tensor.affine, affine)
            assert tensor.applied_operations == [{"class": "A", "n": (1,)}]
            assert set(tensor.meta) == set(image.meta)
            for name, value in image.meta.items():
                assert type(tensor.meta[name]) is type(value), name
                assert np.array_equal(tensor.meta[name], value), name


def test_operations_can_be_undone(folder):
    def steps():
        return Compose(
            [
                Spacingd("image", (2.0, 1.0)),
                Flipd("image", 0),
                ResizeWithPadOrCropd("image", (24, 12)),
                Rotate90d("image"),
                Rotated("image", 0.3),
            ]
        )

    image = MetaTensor(torch.rand(1, 20, 30), affine=torch.diag(torch.tensor([0.5, 2.0, 1.0, 1.0])))
    first = steps()
    fresh = first({"image": image})
    both = stored(folder, fresh)
    expected = first.inverse(fresh)["image"]  # which takes the operations out of it
    assert expected.shape == (1, 20, 30)
    for found in both:
        # Transforms of its own, as a later process has them.
        undone = steps().inverse(found)["image"]
        assert torch.equal(undone, expected)
        assert torch.equal(undone.affine, expected.affine)


def test_the_way_back_to_the_photograph(phantom_folder, folder):
    """RestoreFieldOfViewd reads the box from the cached image's meta data."""
    item = {"image": str(phantom_folder / "0.png")}
    steps = [
        LoadVolumed("image"),
        FindFieldOfViewd("image"),
        CopyItemsd("field_of_view", names="source_field_of_view"),
        ResizeFieldOfViewd(["image", "field_of_view"], diameter_px=64),
        NormalizeFieldOfViewd("image"),
    ]
    results = []
    for cache_dir in (None, folder, folder):
        prepared = PreparedDataset([item], Compose(steps), cache_dir=cache_dir)[0]
        prepared["pred"] = prepared["image"][:1]
        results.append(RestoreFieldOfViewd("pred")(prepared)["pred"])
    fresh, first, again = results
    assert fresh.shape == (1, 240, 240)
    assert fresh.abs().sum() > 0
    assert torch.equal(fresh, first)
    assert torch.equal(fresh, again)
    assert again.meta["filename_or_obj"] == fresh.meta["filename_or_obj"]


def test_nothing_that_is_written_into_an_item_reaches_the_cache(folder):
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"notes": ["first"]})
    for _ in range(3):
        found = Cache(folder).get("key", lambda: {"image": image, "array": np.zeros(3)})
        assert float(found["image"].sum()) == 0
        assert found["array"].tolist() == [0, 0, 0]
        assert torch.equal(found["image"].affine, torch.eye(4, dtype=torch.float64))
        assert found["image"].meta["notes"] == ["first"]
        found["array"] += 1
        written = WriteInPlace("image")(found)
        assert float(written["image"].min()) == 100
    assert float(image.sum()) == 0


def test_nothing_that_a_random_transform_writes_does_either(item, folder):
    prepared = dataset(item, folder, load(), RandomInPlace("image"))
    first, again = prepared[0], prepared[0]
    assert int(first["image"].max()) == int(again["image"].max()) == 101


# --- several processes, and a folder that grows old ---


@pytest.mark.slow
@pytest.mark.seconds
def test_processes_that_write_the_same_entry_at_once(folder):
    spawn = multiprocessing.get_context("spawn")  # other tests leave threads behind, which a fork could break
    start = spawn.Barrier(3)
    processes = [spawn.Process(target=store_all, args=(folder, start, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{key}.pt" for key in range(20))
    for number in range(3, 20):
        assert Cache(folder).get(str(number), pytest.fail)["a"].unique().tolist() == [number]


def age(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_entries_go_after_a_month_without_use(folder):
    for name in ("unused", "young", "used"):
        Cache(folder).get(name, lambda: {"a": 1})
    left_by_a_kill = folder / ".1a2b3c4d.key.pt"
    left_by_a_kill.write_bytes(b"half")
    cached = Cache(folder)
    for name, days in [("unused", 31), ("young", 29), ("used", 31), (".1a2b3c4d.key", 31)]:
        age(folder / f"{name}.pt", days)
    cached.get("used", pytest.fail)
    Cache(folder)
    assert sorted(path.stem for path in folder.iterdir()) == ["used", "young"]


def test_another_process_that_removes_them_first(folder, monkeypatch):
    Cache(folder).get("key", lambda: {"a": 1})
    gone = [folder / "gone.pt", folder / "key.pt"]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: gone)
    age(folder / "key.pt", 31)
    Cache(folder)
    assert not list(folder.iterdir())


def test_a_folder_that_can_only_be_read(folder, monkeypatch):
    """It serves what it has: the tests may run as root, who may write everywhere."""

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    Cache(folder).get("key", lambda: {"a": 1})
    age(folder / "key.pt", 31)
    for name in ("utime", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    assert Cache(folder).get("key", pytest.fail) == {"a": 1}


def test_a_new_folder_is_its_owners(folder):
    """It holds images of patients."""
    Cache(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "cache").write_text("")
    for folder in (tmp_path / "cache", tmp_path / "cache" / "inner"):
        with pytest.raises(MedsegError, match="a cache folder that can be written") as error:
            Cache(folder)
        assert "null for no cache" in error.value.advice


@contextmanager
def files_of_at_most(size):
    """As on a full disk: a write beyond it fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(folder):
    cached = Cache(folder)
    with (
        files_of_at_most(100_000),
        pytest.raises(MedsegError, match="a cache folder that can be written"),
    ):
        cached.get("key", lambda: {"a": torch.zeros(100_000)})
    assert not list(folder.iterdir())
    assert cached.get("key", lambda: {"a": torch.zeros(100_000)})["a"].shape == (100_000,)
