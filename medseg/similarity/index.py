"""An index of described cases in a folder, written whole or not at all.

    index.json           the header: format, recipe, mean and weight of each number, names of the files below
    vectors-<token>.npy  (n, D) float32, the descriptors as they were computed
    cases-<token>.jsonl  a line for each case: name, path, data set, subject, groups, SHA-256
    hashes-<token>.faiss codes for the search by hashing; absent where faiss was not installed

An addition writes new files, then replaces the header, then removes the old files. A process that is killed
at any moment leaves the old index or the new one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.errors import DataError, UsageError
from medseg.io.atomic import atomic_path
from medseg.similarity.descriptors import Recipe
from medseg.similarity.hashing import is_installed, read_hashes, write_hashes

FORMAT = 1
HEADER = "index.json"
_LOCK = ".lock"
_FILES = {"vectors": ".npy", "cases": ".jsonl", "hashes": ".faiss"}
# What to do about an index that was made in another way, by the entry of the recipe that differs.
_TAKE = {
    "task": "Name that task, ",
    "method": "Name that method by --method, ",
    "descriptor": "Take --descriptor {}, ",
    "weights_sha256": "Name the weights that it was made with by --weights, ",
}
_NEW = "Build a new index in another folder with `medseg index`."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexedCase:
    """What an index knows of an image besides its descriptor.

    Attributes:
        name: as other results of medseg name the case.
        path: relative to the folder of the data sets where it lies there, else absolute.
        sha256: a digest of the content; see medseg.similarity.build.content_digest.
        data_set, subject: of the manifest.
        groups: further entries of the manifest's item, such as the pathology or the device.
    """

    name: str
    path: str
    sha256: str
    data_set: str = ""
    subject: str = ""
    groups: dict[str, str] = field(default_factory=dict)


class Cases(Sequence[IndexedCase]):
    """The cases of an index, each read from its line when it is asked for: a query asks for a few of many.

    Args:
        lines: a line of JSON for each case.
        file: that they were read from.

    Raises:
        ValueError, TypeError: the first or the last line is damaged.
    """

    def __init__(self, lines: Sequence[str], file: Path) -> None:
        self._lines, self._file = lines, file
        for line in (*lines[:1], *lines[-1:]):
            IndexedCase(**json.loads(line))

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: Any) -> Any:
        try:
            if isinstance(number, slice):
                return [IndexedCase(**json.loads(line)) for line in self._lines[number]]
            return IndexedCase(**json.loads(self._lines[number]))
        except (TypeError, ValueError) as error:
            raise _damaged(self._file.parent, f"a damaged {self._file.name}") from error

    def has(self, sha256: str) -> bool:
        """Whether an image with this content is among them."""
        return any(sha256 in line for line in self._lines)


@dataclass(frozen=True, eq=False)
class Index:
    """Described cases.

    Attributes:
        recipe: how they were described.
        cases: in the order of the vectors.
        vectors: (n, D) float32, as computed; mapped from the disk.
        file: of the vectors.
        hashes: the file of the codes; None where there is none.
    """

    recipe: Recipe
    cases: Cases
    vectors: np.ndarray
    file: Path
    mean: np.ndarray
    weight: np.ndarray
    hashes: Path | None = None

    def units(self, vectors: np.ndarray) -> np.ndarray:
        """Descriptors as unit vectors, whose scalar product is the cosine that cases are compared by.

        Each number is centred by its mean over the index and divided by its standard deviation there; a
        number that is the same in all cases is left out.

        Args:
            vectors: (n, D), or (D,) of one image.
        """
        return to_units(vectors, self.mean, self.weight)

    def rows(self, numbers: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The vectors of some cases, by default of all; (n, D).

        Raises:
            DataError: there is a value in them that is no finite number.
        """
        found = self.vectors[numbers]
        if not np.isfinite(found).all():
            raise _damaged(self.file.parent, f"a damaged {self.file.name}: not all values are finite numbers")
        return found

    @cached_property
    def all_units(self) -> np.ndarray:
        return self.units(self.rows())


def to_units(vectors: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """See Index.units; a vector without length stays 0."""
    scaled = (np.asarray(vectors, np.float32) - mean) * weight
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    return np.asarray(scaled / np.maximum(length, 1e-12), np.float32)


def read_index(folder: str | Path) -> Index:
    """Open an index; its vectors stay on the disk until they are asked for.

    Raises:
        UsageError: the folder holds no index.
        DataError: the index is damaged, or was written by a newer medseg.
    """
    folder = Path(folder)
    header = read_header(folder)
    try:
        return _open(folder, header)
    except FileNotFoundError as error:
        if read_header(folder) != header:  # the index was replaced after its header was read
            return read_index(folder)
        raise _damaged(folder, f"no file {Path(str(error.filename)).name}") from error


def read_header(folder: Path) -> dict[str, Any]:
    """The header alone; errors as for read_index."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            "the folder of an index",
            got=f"{folder}, which has no {HEADER}",
            advice="Name the -o of `medseg index`, or run that first.",
        ) from error
    except ValueError as error:
        raise _damaged(folder, f"a damaged {HEADER}, which is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise _damaged(folder, f"a damaged {HEADER}, which is no header of an index")
    if header["format"] > FORMAT:
        raise DataError(
            f"an index of format {FORMAT} or older",
            got=f"format {header['format']}, which a newer medseg wrote",
            advice="Update medseg, or build the index anew with this one.",
        )
    return header


def read_recipe(folder: Path) -> Recipe:
    """How the cases of an index were described; errors as for read_index."""
    return _recipe(folder, read_header(folder))


def require_same(recipe: Recipe, found: Recipe, folder: Path) -> None:
    """Refuse descriptors that can't be compared.

    Args:
        recipe: what is asked for.
        found: what the index in `folder` was made with.

    Raises:
        UsageError: naming what differs.
    """
    asked, made = dataclasses.asdict(recipe), dataclasses.asdict(found)
    different = [name for name in asked if asked[name] != made[name]]
    if different:
        name = different[0]
        take = _TAKE.get(name, "").format(_text(made[name]))
        raise UsageError(
            f"the {name.replace('_', ' ')} that the index in {folder} was made with, {_text(made[name])}",
            got=_text(asked[name]),
            advice=f"{take}{'or build' if take else 'Build'} a new index in another folder.",
        )


def require_place(folder: Path) -> None:
    """Refuse a folder that holds other files.

    Raises:
        UsageError: it is no index, and not empty.
    """
    if not folder.exists() or (folder / HEADER).exists():
        return
    left_over = set(_own_files(folder)) | {folder / _LOCK}
    if not folder.is_dir() or set(folder.iterdir()) - left_over:
        raise UsageError(
            "a new or empty folder, or an index, to write to",
            got=f"{folder}, which holds something else",
            advice="Name another folder by -o.",
        )


def add_cases(folder: Path, recipe: Recipe, cases: Sequence[IndexedCase], vectors: np.ndarray) -> int:
    """Add described cases to the index in a folder, which is created if it is missing.

    Cases whose content is in it already are left out. What is in the index is not described again, but mean,
    weight and codes are computed anew over all cases.

    Args:
        folder: of the index.
        recipe: how the cases were described.
        cases: n of them.
        vectors: (n, D).

    Returns:
        The number of cases in the index.

    Raises:
        UsageError: the index was made in another way.
        DataError: the index is damaged.
        OSError: it can't be written; it is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        old = read_index(folder) if (folder / HEADER).exists() else None
        if old is not None:
            require_same(recipe, old.recipe, folder)
        known = {case.sha256 for case in old.cases} if old else set()
        new = [n for n, case in enumerate(cases) if case.sha256 not in known]
        joined = [*(old.cases if old else ()), *(cases[n] for n in new)]
        rows = np.asarray(vectors, np.float32)[new]
        _write(folder, recipe, joined, np.concatenate([old.rows(), rows]) if old else rows)
    return len(joined)


def add_hashes(folder: Path) -> None:
    """Give the hashes to an index that has none, or whose file of them is missing or damaged.

    Without faiss the index stays as it is. Errors as for add_cases.
    """
    found = read_index(folder)
    if not is_installed():
        return
    try:
        read_hashes(found.hashes, len(found.cases))
    except (DataError, UsageError):
        add_cases(folder, found.recipe, (), found.vectors[:0])


def _write(folder: Path, recipe: Recipe, cases: Sequence[IndexedCase], vectors: np.ndarray) -> None:
    token = secrets.token_hex(4)
    files = {kind: f"{kind}-{token}{suffix}" for kind, suffix in _FILES.items()}
    mean, weight = _statistics(vectors)
    with atomic_path(folder / files["vectors"]) as temporary:
        np.save(temporary, vectors)
    with atomic_path(folder / files["cases"]) as temporary:
        lines = (json.dumps(dataclasses.asdict(case), ensure_ascii=True) for case in cases)
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if is_installed():
        with atomic_path(folder / files["hashes"]) as temporary:
            write_hashes(to_units(vectors, mean, weight), temporary)
    else:
        del files["hashes"]
        logger.warning("no hashes: faiss is not installed. `medseg similar --exact` works without it.")
    header = {
        "format": FORMAT,
        "recipe": dataclasses.asdict(recipe),
        "cases": len(cases),
        "length": vectors.shape[1],
        "files": files,
        "versions": {name: version(name) for name in ("torch", "monai")} | {"medseg": __version__},
        "mean": mean.tolist(),
        "weight": weight.tolist(),
    }
    with atomic_path(folder / HEADER) as temporary:
        temporary.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    for path in _own_files(folder):
        if path.name not in files.values():
            path.unlink(missing_ok=True)


def _statistics(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each number, and 1 / standard deviation; 0 for a number that does not vary.

    A single case has no spread: nothing is centred or scaled then.
    """
    if len(vectors) < 2:
        return np.zeros(vectors.shape[1], np.float32), np.ones(vectors.shape[1], np.float32)
    mean, spread = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
    varies = spread > 1e-6 * np.maximum(np.abs(mean), spread.max())
    weight = np.divide(1, spread, out=np.zeros_like(spread), where=varies)
    return mean.astype(np.float32), weight.astype(np.float32)


def _open(folder: Path, header: dict[str, Any]) -> Index:
    with _whole(folder, HEADER):
        files = {kind: folder / header["files"][kind] for kind in _FILES if kind in header["files"]}
        shape = (int(header["cases"]), int(header["length"]))
        mean, weight = (np.array(header[name], np.float32).reshape(shape[1]) for name in ("mean", "weight"))
        if not (np.isfinite(mean).all() and np.isfinite(weight).all()):
            raise ValueError
        vectors_file, cases_file = files["vectors"], files["cases"]
    with _whole(folder, vectors_file.name):
        vectors = np.lib.format.open_memmap(vectors_file, mode="r")
        np.isfinite(vectors.flat[:1])  # of text or records it can't be said
    with _whole(folder, cases_file.name):
        cases = Cases(cases_file.read_text(encoding="utf-8").splitlines(), cases_file)
    if vectors.shape != shape or len(cases) != shape[0]:
        sizes = f"{vectors.shape} numbers in {vectors_file.name}, {len(cases)} lines in {cases_file.name}"
        raise _damaged(folder, f"damaged files: {sizes}, and {shape} in {HEADER}")
    found = Index(_recipe(folder, header), cases, vectors, vectors_file, mean, weight, files.get("hashes"))
    found.rows(np.unique([0, len(cases) - 1]) if len(cases) else slice(0))  # all are too many to read here
    return found


def _recipe(folder: Path, header: dict[str, Any]) -> Recipe:
    try:
        found = Recipe(**header["recipe"])
        return dataclasses.replace(found, weights_sha256=tuple(found.weights_sha256))
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"a damaged {HEADER}, without a recipe that this medseg knows") from error


@contextmanager
def _whole(folder: Path, name: str) -> Iterator[None]:
    """Say of what can't be understood in a file that the file is damaged."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _damaged(folder, f"a damaged {name}") from error


def _damaged(folder: Path, got: str) -> DataError:
    return DataError(f"a whole index in {folder}", got=got, advice=_NEW)


def _text(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, (tuple, list)) else str(value)


def _own_files(folder: Path) -> Iterator[Path]:
    """The files of this and of earlier states, those of killed processes too."""
    for kind, suffix in _FILES.items():
        yield from folder.glob(f"{kind}-*{suffix}")
        yield from folder.glob(f".*.{kind}-*{suffix}")
    yield from folder.glob(f".*.{HEADER}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time adds to an index; the lock of a killed process is free."""
    import fcntl

    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
