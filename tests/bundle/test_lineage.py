"""Whom weights have learnt from: marked where they are scored, and never guessed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fundus_pictures import write_png

from medseg.bundle import lineage_of, lineage_of_items, weights_files, write_lineage
from medseg.case import Case
from medseg.data.manifests import load_items
from medseg.errors import WeightsError
from medseg.evaluation.case_scores import draw_picture, score_picture
from medseg.evaluation.past_runs import read_rows
from medseg.evaluation.scoring import Scoring
from medseg.evaluation.split import evaluate
from medseg.training.lineage import training_lineage
from medseg.volume import Mask

pytestmark = pytest.mark.seconds


@pytest.fixture
def item(tmp_path):
    """An item of a data set; its image's content is its number."""

    def make(number, subject=None, data_set="one", name=None):
        path = tmp_path / f"{name or number}.png"
        write_png(path, np.full((40, 40), number, np.uint8))
        subject = subject or f"s{number}"
        return {"image": str(path), "label": str(path), "subject": subject, "data_set": data_set}

    return make


@pytest.fixture
def weights(tmp_path):
    """A file of weights, with the record of those items that it has learnt from, if any are given."""

    def make(*items, name="model", lineage=None):
        path = tmp_path / f"{name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        if items or lineage:
            write_lineage(path, lineage or lineage_of_items(items))
        return path

    return make


# --- the record ---


def test_it_knows_its_subjects(item, weights):
    """By another image of them too; neither other subjects, nor those of one name in another data set."""
    known = lineage_of([weights(item(1, "anna"), item(2, "ben"))])
    assert known.is_whole
    assert known.includes(item(1, "anna"))
    assert known.includes(item(3, "anna"))
    assert not known.includes(item(4, "cleo"))
    assert not known.includes(item(5, "anna", "two"))


def test_it_knows_an_image_under_another_name(item, weights):
    """The same content in another data set, of a subject that is called otherwise."""
    known = lineage_of([weights(item(1, "anna"))])
    again = item(1, "0001", "two", name="copy")
    assert known.includes(again)
    assert known.includes({"image": again["image"]})
    assert not known.includes(item(2, "0001", "two"))


def test_an_item_without_a_subject_is_known_by_its_image(item, weights):
    nameless = {"image": item(1)["image"]}
    known = lineage_of([weights(nameless)])
    assert not known.subjects
    assert known.includes(item(1))
    assert not known.includes({"image": item(2)["image"]})


def test_it_names_nobody(item, weights):
    path = weights(item(1, "anna"))
    text = path.with_name("model.lineage.json").read_text()
    assert "anna" not in text
    assert str(path.parent) not in text
    assert set(json.loads(text)) == {"weights_sha256", "is_whole", "subjects", "images"}


def test_without_a_record_nothing_is_known(item, weights):
    known = lineage_of([weights()])
    assert not known.is_whole
    assert not known.includes(item(1))


def test_a_method_without_weights_has_learnt_from_nobody(item):
    known = lineage_of([])
    assert known.is_whole
    assert not known.includes(item(1))


def test_the_record_of_another_file(item, weights):
    """As after a copy of other weights to this place."""
    path = weights(item(1))
    path.write_bytes(b"others")
    known = lineage_of([path])
    assert not known.is_whole
    assert not known.includes(item(1))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weights_sha256": 1}', "null"])
def test_a_damaged_record(item, weights, text):
    path = weights(item(1))
    path.with_name("model.lineage.json").write_text(text)
    with pytest.raises(WeightsError, match=r"model\.lineage\.json"):
        lineage_of([path])


def test_several_weights_know_what_each_knows(item, weights):
    files = [weights(item(number), name=f"fold_{number}/models/model") for number in range(3)]
    known = lineage_of(files)
    assert known.is_whole
    assert [known.includes(item(number)) for number in range(4)] == [True, True, True, False]
    files.append(weights(name="fold_3/models/model"))
    assert not lineage_of(files).is_whole
    assert lineage_of(files).includes(item(0))


def test_one_fold_knows_its_own_subjects(item, weights, tmp_path):
    for number in range(2):
        weights(item(number), name=f"fold_{number}/models/model")
    for number in range(2):
        known = lineage_of(weights_files(tmp_path, number))
        assert [known.includes(item(n)) for n in range(2)] == [n == number for n in range(2)]


# --- a training's ---


@pytest.fixture
def phantoms(phantom_data):
    """Items of a training by their image alone, as a trainer has them, and the manifests' names."""
    items = load_items(phantom_data.manifest, "training", ["image", "label"])
    return items, [str(phantom_data.manifest)]


def test_a_training_learns_from_its_items(phantoms, phantom_data):
    """Also where each comes several times; not from the other splits."""
    items, manifests = phantoms
    known = training_lineage([*items[:2], items[0]], manifests)
    assert (len(known.subjects), len(known.images), known.is_whole) == (2, 2, True)
    training = load_items(phantom_data.manifest, "training")
    assert [known.includes(item) for item in training] == [True, True, False]
    assert not any(
        known.includes(item) for split in ("validation", "test") for item in load_items(manifests, split)
    )


def test_items_of_no_manifest_are_known_by_their_images(phantoms, item):
    known = training_lineage([{"image": item(9)["image"]}], phantoms[1])
    assert known.includes(item(9))
    assert not known.subjects


def test_items_of_another_program_need_no_folder_of_data_sets(phantoms, item, monkeypatch):
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    known = training_lineage([{"image": item(9)["image"]}], ["chase_db1"])
    assert known.includes(item(9))


def test_the_weights_that_it_began_with_count(phantoms, item, weights):
    """With all that they have learnt from, and not whole where they don't say."""
    items, manifests = phantoms
    first = weights(item(1, "anna"), name="first")
    known = training_lineage(items, manifests, first)
    assert known.is_whole
    assert known.includes(item(2, "anna"))
    second = weights(name="second", lineage=known)
    of_third = training_lineage(items[:1], manifests, str(second))
    assert of_third.includes(item(2, "anna"))
    assert of_third.includes(load_items(manifests, "training")[2])
    unknown = training_lineage(items, manifests, weights(name="unknown"))
    assert not unknown.is_whole
    assert len(unknown.subjects) == 3
    again = weights(name="again", lineage=unknown)
    assert not training_lineage(items, manifests, again).is_whole


# --- a scoring ---


@pytest.fixture
def marks(tmp_path):
    """Evaluate items by weights: subject to what the column `trained` says."""

    def run(items, files, folder="scores"):
        mask = Mask(np.ones((40, 40), np.uint8), {0: "background", 1: "vessel"})
        case = Case(mask, np.zeros((3, 40, 40), np.uint8))
        by_hand = SimpleNamespace(method=SimpleNamespace(name="x"), weights=files, case=lambda source: case)
        for entry in items:
            entry["label"] = entry["image"].replace(".png", "_label.png")
            write_png(entry["label"], np.ones((40, 40), np.uint8))
        options = {"split": "test", "scoring": Scoring(score_picture, draw_picture)}
        evaluate(by_hand, items, output_dir=tmp_path / folder, **options)
        return {row.subject: row.groups.get("trained") for row in read_rows(tmp_path / folder / "scores.csv")}

    return run


def test_cases_that_trained_are_marked(item, weights, marks, tmp_path, caplog):
    file = weights(item(1), item(2))
    items = [item(1), item(3), item(2, "s9", "two", name="copy")]
    assert marks(items, [file]) == {"s1": "yes", "s3": "no", "s9": "yes"}
    assert "trained on 2 of 3 cases (column `trained`), whose scores are optimistic" in caplog.text
    summary = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert {value: group["cases"] for value, group in summary["by_group"]["trained"].items()} == {
        "no": 1, "yes": 2,
    }  # fmt: skip


def test_held_out_cases_are_not(item, weights, marks, caplog):
    assert marks([item(3), item(4)], [weights(item(1))]) == {"s3": None, "s4": None}
    assert "trained" not in caplog.text
    assert "not known" not in caplog.text


def test_unknown_is_told(item, weights, marks, caplog):
    assert marks([item(3)], [weights()]) == {"s3": None}
    assert "unknown which cases these weights were trained on" in caplog.text


def test_a_rule_is_not_asked(item, marks, caplog):
    assert marks([item(3)], []) == {"s3": None}
    assert "not known" not in caplog.text


def test_compare_runs_warns(item, weights, marks, run_medseg, tmp_path, capsys):
    numbers = range(8)
    marks([item(number) for number in numbers], [weights(item(1), item(2))], "a")
    marks([item(number) for number in numbers], [], "b")
    for first, second, side in (("a", "b", "A"), ("b", "a", "B")):
        command = ["compare-runs", tmp_path / first, tmp_path / second, "-o", tmp_path / "out"]
        assert run_medseg(*command) == 0
        said = capsys.readouterr().out
        names = "2 cases (1, 2) are among those that trained the weights of run"
        assert f"warning: {names} {side}, which looks too good." in said
