"""An index on disk: added to, refused, damaged, and written by a process that is killed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from medseg.errors import DataError, UsageError
from medseg.similarity import index as index_module
from medseg.similarity.descriptors import Recipe
from medseg.similarity.index import HEADER, IndexedCase, add_cases, read_index, require_place, require_same

RECIPE = Recipe("breast_ultrasound", "0.2.0", "residual_unet", "encoder", ("ab" * 32,))


def cases(*numbers):
    return [
        IndexedCase(f"case_{n}", f"{n}.png", f"{n:064}", "phantoms", f"s{n}", {"side": "left"})
        for n in numbers
    ]


def vectors(*numbers):
    return np.stack([np.random.default_rng(n).normal(size=12) for n in numbers]).astype(np.float32)


def add(folder, *numbers, recipe=RECIPE):
    return add_cases(folder, recipe, cases(*numbers), vectors(*numbers))


def test_what_is_written_is_read(tmp_path):
    assert add(tmp_path / "index", 0, 1, 2) == 3
    found = read_index(tmp_path / "index")
    assert found.recipe == RECIPE
    assert list(found.cases) == cases(0, 1, 2)
    assert np.array_equal(found.vectors, vectors(0, 1, 2))
    assert found.mean == pytest.approx(vectors(0, 1, 2).mean(0))
    assert np.linalg.norm(found.all_units, axis=1) == pytest.approx(1)


def test_an_addition_is_as_good_as_a_new_index(tmp_path):
    add(tmp_path / "added", 0, 1)
    assert add(tmp_path / "added", 1, 2, 3) == 4  # 1 is there
    add(tmp_path / "new", 0, 1, 2, 3)
    added, new = (read_index(tmp_path / name) for name in ("added", "new"))
    assert list(added.cases) == list(new.cases)
    assert np.array_equal(added.all_units, new.all_units)
    assert len(list((tmp_path / "added").iterdir())) == 5  # header, three files, lock: none of before


def test_one_case_and_a_number_that_never_varies(tmp_path):
    add(tmp_path / "one", 0)
    assert np.isfinite(read_index(tmp_path / "one").all_units).all()
    flat = vectors(0, 1, 2)
    flat[:, 3] = 7
    add_cases(tmp_path / "flat", RECIPE, cases(0, 1, 2), flat)
    found = read_index(tmp_path / "flat")
    assert (found.all_units[:, 3] == 0).all()
    other = flat[0].copy()
    other[3] = 100
    assert np.array_equal(found.units(other), found.units(flat[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "lung_ct"}, "the task .* breast_ultrasound; got lung_ct.*Name that task"),
        ({"method": "unet"}, "the method .* residual_unet; got unet.*--method"),
        ({"descriptor": "intensity"}, "the descriptor .* encoder; got intensity.*--descriptor encoder"),
        ({"weights_sha256": ("cd" * 32,)}, "weights sha256 .*--weights"),
        ({"bundle_version": "0.3.0"}, "bundle version .*Build a new index"),
    ],
)
def test_another_recipe_is_refused(tmp_path, change, message):
    add(tmp_path, 0)
    with pytest.raises(UsageError, match=message):
        add(tmp_path, 1, recipe=dataclasses.replace(RECIPE, **change))
    assert len(read_index(tmp_path).cases) == 1
    require_same(RECIPE, RECIPE, tmp_path)


def damaged(folder, kind, change):
    path = folder / HEADER if kind == "header" else next(folder.glob(f"{kind}-*"))
    content = path.read_bytes()
    path.unlink() if change is None else path.write_bytes(change(content))


DAMAGED = "a whole index in .*got a damaged "


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("vectors", None, "no file vectors-"),
        ("cases", None, "no file cases-"),
        ("vectors", lambda content: content[:200], DAMAGED),
        ("vectors", lambda content: b"", DAMAGED),
        ("vectors", lambda content: b"PK\x03\x04" + content, DAMAGED),
        ("vectors", lambda content: b"not an array at all", DAMAGED),
        ("vectors", lambda content: content.replace(b"<f4", b"|O "), DAMAGED),
        ("vectors", lambda content: content.replace(b"<f4", b"<U1"), DAMAGED),
        (
            "vectors",
            lambda content: content.replace(b"(3, 12)", b"(36,)  "),
            "damaged files: .*36,. numbers in vectors-",
        ),
        ("cases", lambda content: content[:-30], DAMAGED),
        ("cases", lambda content: b"null\n" * 3, DAMAGED),
        ("cases", lambda content: b"\xff\xfe" + content, DAMAGED),
        (
            "cases",
            lambda content: content.splitlines(keepends=True)[0],
            "damaged files: .*, 1 lines in cases-",
        ),
        ("cases", lambda content: content.replace(b'"name"', b'"nmae"'), DAMAGED),
        ("header", lambda content: content[:40], "a damaged index.json, which is not JSON"),
        ("header", lambda content: b"[1]", "a damaged index.json, which is no header of an index"),
        ("header", lambda content: content.replace(b'"recipe"', b'"x"'), "without a recipe"),
        ("header", lambda content: content.replace(b'"format": 1', b'"format": 2'), "a newer medseg"),
        ("header", lambda content: content.replace(b'"files"', b'"x"'), DAMAGED),
        ("header", lambda content: content.replace(b'"cases": "', b'"x": "'), DAMAGED),
        ("header", lambda content: content.replace(b'"cases": 3', b'"cases": null'), DAMAGED),
        ("header", lambda content: content.replace(b'"files": {', b'"files": null, "x": {'), DAMAGED),
        ("header", lambda content: content.replace(b'"length": 12', b'"length": 13'), DAMAGED),
    ],
)
def test_damage_is_told(tmp_path, kind, change, message):
    """By the name of the file, without the words of the library that read it."""
    add(tmp_path, 0, 1, 2)
    damaged(tmp_path, kind, change)
    with pytest.raises(DataError, match=message) as caught:
        read_index(tmp_path)
    assert caught.value.advice
    if message == DAMAGED:
        name = HEADER if kind == "header" else next(tmp_path.glob(f"{kind}-*")).name
        assert caught.value.got == f"a damaged {name}"


def test_a_damaged_line_amid_the_cases_is_told(tmp_path):
    add(tmp_path, 0, 1, 2)
    damaged(tmp_path, "cases", lambda content: content.replace(b'"case_1"', b'"case_1'))
    with pytest.raises(DataError, match=r"a whole index in .*a damaged cases-"):
        read_index(tmp_path).cases[1]


def test_a_folder_without_an_index(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="the folder of an index"):
            read_index(folder)
    (tmp_path / "thesis.odt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        require_place(tmp_path)
    require_place(tmp_path / "missing")


def test_an_error_while_writing_leaves_the_old_index(tmp_path, monkeypatch):
    add(tmp_path, 0, 1)
    monkeypatch.setattr(index_module, "write_hashes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        add(tmp_path, 2)
    monkeypatch.undo()
    assert len(read_index(tmp_path).cases) == 2
    assert add(tmp_path, 2, 3) == 4
    assert len(list(tmp_path.iterdir())) == 5


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from medseg.similarity import index
from medseg.similarity.descriptors import Recipe

calls = 0
write = Path.replace
def replace(self, target):
    global calls
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    calls += 1
    return write(self, target)
Path.replace = replace
folder = Path(sys.argv[1])
old = index.read_index(folder)
index.add_cases(folder, old.recipe, [index.IndexedCase("new", "new.png", "f" * 64)], old.vectors[:1])
"""


@pytest.mark.seconds
@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_killed_process_leaves_the_old_index(tmp_path, renames):
    """Killed before the first, second, third file and the header take their names."""
    add(tmp_path, 0, 1)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(renames)],
        timeout=120,
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-500:]
    assert list(read_index(tmp_path).cases) == cases(0, 1)
    assert add(tmp_path, 2) == 3
    assert len(list(tmp_path.iterdir())) == 5  # what the killed process left is gone


def test_without_faiss_the_index_has_no_hashes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(index_module, "is_installed", lambda: False)
    add(tmp_path, 0, 1)
    assert read_index(tmp_path).hashes is None
    assert "--exact" in caplog.text


def test_the_header_says_what_it_was_made_with(tmp_path):
    add(tmp_path, 0, 1)
    header = json.loads((tmp_path / HEADER).read_text())
    assert header["recipe"]["weights_sha256"] == ["ab" * 32]
    assert {"medseg", "torch", "monai"} == set(header["versions"])
