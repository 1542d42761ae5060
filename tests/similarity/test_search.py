"""Similar cases from end to end, on pictures whose likeness is known."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from medseg.errors import DataError, InputError, UnreadableError, UnsuitableError, UsageError, WeightsError
from medseg.phantoms.breast import breast_ultrasound
from medseg.similarity import build, hashing
from medseg.similarity.build import build_index, content_digest
from medseg.similarity.descriptors import Describer
from medseg.similarity.index import read_index
from medseg.similarity.search import Finder, find_similar, nearest
from medseg.volume import Volume

TASK = "breast_ultrasound"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four synthetic breasts, each as it is and a little brighter, and a manifest of the eight."""
    folder = tmp_path_factory.mktemp("pictures")
    items = []
    for seed in range(4):
        picture, mask, _ = breast_ultrasound(seed, (160, 200))
        Image.fromarray(255 * mask).save(folder / f"{seed}_mask.png")
        for name, brighter in (("left", 0), ("right", 6)):
            Image.fromarray(np.clip(picture.astype(int) + brighter, 0, 255).astype(np.uint8)).save(
                folder / f"{seed}_{name}.png"
            )
            items.append(
                {
                    **{"image": f"{seed}_{name}.png", "label": f"{seed}_mask.png", "subject": f"s{seed}"},
                    **{"side": name, "fold": 1},
                }
            )
    content = {
        **{"name": "phantoms", "description": "breasts", "labels": {"0": "background", "1": "lesion"}},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        **{"urls": [], "training": items[:6], "validation": items[6:], "test": []},
    }
    (folder / "phantoms.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def data(pictures, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(pictures))
    return pictures


@pytest.fixture(scope="module")
def built(pictures, tmp_path_factory):
    """An index of the eight, by brightness and texture."""
    folder = tmp_path_factory.mktemp("built") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSEG_DATA", str(pictures))
        build_index(pictures / "phantoms.json", TASK, folder, descriptor="intensity")
    return folder


@pytest.fixture
def index(built, tmp_path):
    return shutil.copytree(built, tmp_path / "index")


@pytest.mark.parametrize("exact", [False, True])
def test_the_other_picture_of_the_same_breast_is_nearest(data, index, exact):
    finder = Finder(index)
    for seed in range(4):
        found = finder(data / f"{seed}_left.png", 3, exact=exact)
        assert found.neighbours[0].case.name == f"{seed}_right"
        assert [each.rank for each in found.neighbours] == [1, 2, 3]
        distances = [each.distance for each in found.neighbours]
        assert distances == sorted(distances)
        assert 0 <= distances[0] < 0.1
        assert found.search == ("exact" if exact else "hashing")
        assert "was left out" in found.notes[0]


def test_a_case_keeps_what_the_manifest_says(data, index):
    case = read_index(index).cases[1]
    assert (case.name, case.path, case.data_set, case.subject) == ("0_right", "0_right.png", "phantoms", "s0")
    assert case.groups == {"side": "right"}
    assert case.sha256 == content_digest(data / "0_right.png")


def test_more_than_there_are(data, index):
    found = find_similar(data / "0_left.png", index, 50)
    assert len(found.neighbours) == 7
    assert "the index has 7 others" in found.notes[1]


def test_a_new_picture_of_a_known_breast(data, index, tmp_path):
    pixels = np.asarray(Image.open(data / "2_left.png"))
    Image.fromarray(pixels[:, ::-1]).save(tmp_path / "mirrored.png")
    found = find_similar(tmp_path / "mirrored.png", index, 2)
    assert {each.case.subject for each in found.neighbours} == {"s2"}
    assert found.notes == []


def test_a_second_run_adds_nothing_and_describes_nothing(data, index, monkeypatch):
    monkeypatch.setattr(Describer, "__call__", lambda *_: pytest.fail("described again"))
    again = build_index(data / "phantoms.json", TASK, index, descriptor="intensity")
    assert (again.added, again.known, again.total) == (0, 8, 8)


def test_a_renamed_copy_is_the_same_picture(data, index, tmp_path):
    manifest = json.loads((data / "phantoms.json").read_text())
    shutil.copy(data / "0_left.png", tmp_path / "copy.png")
    manifest["training"] = [{"image": str(tmp_path / "copy.png"), "label": "0_mask.png", "subject": "x"}]
    manifest["validation"] = []
    (tmp_path / "copy.json").write_text(json.dumps(manifest))
    assert build_index(tmp_path / "copy.json", TASK, index, descriptor="intensity").known == 1


def test_splits(data, tmp_path):
    folder = tmp_path / "some"
    first = build_index(data / "phantoms.json", TASK, folder, descriptor="intensity", splits=["validation"])
    assert (first.added, first.total) == (2, 2)
    rest = build_index(data / "phantoms.json", TASK, folder, descriptor="intensity")
    assert (rest.added, rest.known, rest.total) == (6, 2, 8)


def test_what_was_described_before_an_interruption_is_kept(data, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SAVED_EACH", 3)
    seen = []
    describe = Describer.__call__

    def interrupted(self, source):
        seen.append(source)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return describe(self, source)

    monkeypatch.setattr(Describer, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_index(data / "phantoms.json", TASK, tmp_path / "index", descriptor="intensity")
    assert len(read_index(tmp_path / "index").cases) == 3
    monkeypatch.setattr(Describer, "__call__", describe)
    rest = build_index(data / "phantoms.json", TASK, tmp_path / "index", descriptor="intensity")
    assert (rest.added, rest.known) == (5, 3)


def manifest_of(data, folder, *images):
    content = json.loads((data / "phantoms.json").read_text())
    content["training"] = [{"image": str(image), "label": "0_mask.png", "subject": "x"} for image in images]
    content["validation"] = []
    (folder / "other.json").write_text(json.dumps(content))
    return folder / "other.json"


def test_a_refused_image_is_told_and_left_out(data, index, tmp_path, caplog):
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(tmp_path / "black.png")
    manifest = manifest_of(
        data, tmp_path, tmp_path / "empty.png", tmp_path / "black.png", tmp_path / "no.png"
    )
    with caplog.at_level(logging.WARNING):
        found = build_index(manifest, TASK, index, descriptor="intensity")
    assert (found.added, found.refused, found.total) == (0, 3, 8)
    assert {record.message.partition(":")[0] for record in caplog.records} == {"empty", "black", "no"}
    with pytest.raises(InputError, match=r"got 3 that were refused"):
        build_index(manifest, TASK, tmp_path / "new", descriptor="intensity")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_1(data, index, k):
    with pytest.raises(UsageError, match="1 or more similar cases"):
        find_similar(data / "0_left.png", index, k)


def test_queries_that_are_refused(data, index, tmp_path):
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(tmp_path / "black.png")
    finder = Finder(index)
    with pytest.raises(UnsuitableError):
        finder(tmp_path / "black.png")
    with pytest.raises(UnreadableError):
        finder(tmp_path / "missing.png")
    (tmp_path / "half.png").write_bytes((data / "0_left.png").read_bytes()[:500])
    with pytest.raises(InputError):
        finder(tmp_path / "half.png")


def test_an_index_of_another_descriptor_or_task(data, index):
    with pytest.raises(UsageError, match="the descriptor that the index"):
        build_index(data / "phantoms.json", TASK, index)
    with pytest.raises(UsageError, match="the task that the index"):
        build_index(data / "phantoms.json", "lung_ct", index, descriptor="intensity")
    with pytest.raises(UsageError, match="the task that the index"):
        Finder(index, task="retinal_vessel")


@pytest.mark.parametrize("rows", [slice(None), slice(3, 4)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_finite_number(data, index, tmp_path, rows, value):
    path = next(index.glob("vectors-*"))
    vectors = np.load(path)
    vectors[rows] = value
    np.save(path, vectors)
    message = f"a whole index in.*{path.name}"
    for exact in (False, True):
        with pytest.raises(DataError, match=message):
            find_similar(data / "0_left.png", index, exact=exact)
    pixels = np.asarray(Image.open(data / "2_left.png"))
    Image.fromarray(pixels[:, ::-1]).save(tmp_path / "mirrored.png")
    before = sorted(index.iterdir())
    with pytest.raises(DataError, match=message):
        build_index(
            manifest_of(data, tmp_path, tmp_path / "mirrored.png"), TASK, index, descriptor="intensity"
        )
    assert {each.name for each in before} <= {each.name for each in index.iterdir()}


def test_an_empty_index(index):
    for kind in ("cases", "vectors"):
        path = next(index.glob(f"{kind}-*"))
        path.write_bytes(b"") if kind == "cases" else np.save(path, np.zeros((0, 47), np.float32))
    header = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**header, "cases": 0}))
    with pytest.raises(DataError, match="an index with cases"):
        Finder(index)


def test_without_faiss_only_the_exact_search_works(data, index, monkeypatch):
    monkeypatch.setattr(hashing, "is_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "faiss", None)
    finder = Finder(index)
    with pytest.raises(UsageError, match=r"medseg\[similarity\]"):
        finder(data / "0_left.png")
    assert finder(data / "0_left.png", exact=True).neighbours[0].case.name == "0_right"


def test_hashes_that_are_missing_are_made_by_the_next_run(data, tmp_path, monkeypatch):
    folder = tmp_path / "index"
    monkeypatch.setattr("medseg.similarity.index.is_installed", lambda: False)
    build_index(data / "phantoms.json", TASK, folder, descriptor="intensity")
    with pytest.raises(UsageError, match="once more"):
        find_similar(data / "0_left.png", folder)
    monkeypatch.undo()
    monkeypatch.setenv("MEDSEG_DATA", str(data))
    assert build_index(data / "phantoms.json", TASK, folder, descriptor="intensity").known == 8
    assert find_similar(data / "0_left.png", folder, 1).neighbours[0].case.name == "0_right"


@pytest.mark.parametrize("content", [None, b"IxHe"])
def test_hashes_that_are_gone_or_damaged_are_made_by_the_next_run(data, index, content):
    path = next(index.glob("hashes-*"))
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=rf"the hashes of the index.*{path.name}.*once more"):
        find_similar(data / "0_left.png", index)
    assert build_index(data / "phantoms.json", TASK, index, descriptor="intensity").known == 8
    assert len(list(index.glob("hashes-*"))) == 1
    assert find_similar(data / "0_left.png", index, 1).neighbours[0].case.name == "0_right"
    before = sorted(index.iterdir())
    build_index(data / "phantoms.json", TASK, index, descriptor="intensity")
    assert sorted(index.iterdir()) == before  # nothing to mend, nothing written


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"descriptor": "encodr"}, UsageError, "Did you mean encoder"),
        ({"method": "threshold"}, UsageError, r"threshold, which has none.*residual_unet.*intensity"),
        ({"weights": "missing.pt"}, WeightsError, "no file missing.pt"),
        ({"weights": "mine.pt", "descriptor": "intensity"}, UsageError, "no weights"),
        ({"method": "cnn"}, UsageError, None),
        ({"device": "gpu"}, UsageError, None),
    ],
)
def test_descriptors_that_can_not_be(data, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        build_index(data / "phantoms.json", TASK, tmp_path / "index", **arguments)
    assert not (tmp_path / "index").exists()


def test_the_lungs_rules_have_no_encoder():
    with pytest.raises(UsageError, match=r"classical, which has none.*--method \(residual_unet"):
        Describer("lung_ct")


def test_ties_are_in_the_order_of_the_index(data, index):
    found = read_index(index)
    assert [number for number, _ in nearest(found, np.zeros(47, np.float32), 3)] == [0, 1, 2]


@pytest.mark.seconds
def test_the_shipped_encoder(data, tmp_path):
    """Of the default method; other weights are refused."""
    folder = tmp_path / "index"
    assert build_index(data / "phantoms.json", TASK, folder, splits=["training"]).total == 6
    found = find_similar(data / "1_left.png", folder, 1)
    assert found.neighbours[0].case.name == "1_right"
    assert found.recipe.weights_sha256 == read_index(folder).recipe.weights_sha256
    with pytest.raises(UsageError, match="the method that the index"):
        build_index(data / "phantoms.json", TASK, folder, method="unet")


@pytest.mark.slow
def test_a_lung_network_describes_a_volume(chest_phantom):
    """OpenVINO, where it is installed, would show no features: torch computes them."""
    describer = Describer("lung_ct", "residual_unet", device="cpu")
    array = chest_phantom.array
    found = describer(Volume(array[None] if array.ndim == 3 else array, chest_phantom.affine))
    assert found.shape == (2 * (96 + 128),)
    assert np.isfinite(found).all()
    assert found.std() > 0
    assert (describer.window.centre, describer.modality) == (-600, "CT")
