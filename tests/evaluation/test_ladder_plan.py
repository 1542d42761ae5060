"""What a comparison of methods refuses before anything runs."""

import json
import shutil

import pytest
from ladder_bundle import GREEN, copy_bundle

from medseg.bundle import lineage_of_items, write_lineage
from medseg.data.manifests import load_items
from medseg.errors import DataError, UsageError, WeightsError
from medseg.evaluation.ladder_plan import plan

PAIR = ["green", "greener"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return str(copy_bundle(folder, green=GREEN.format(1), greener=GREEN.format(0.5), learned=GREEN.format(1)))


@pytest.fixture
def chosen(phantom_data):
    return {"manifests": [str(phantom_data.manifest)]}


@pytest.fixture
def weights(tmp_path):
    """A file of weights; what it holds does not matter before it is loaded."""
    path = tmp_path / "own.pt"
    path.write_bytes(b"weights")
    return path


def test_a_plan(bundle, chosen):
    found = plan(bundle, PAIR, overrides=chosen)
    assert [entry.method.name for entry in found.entries] == PAIR
    assert [item["subject"] for item in found.items] == ["phantom_4", "phantom_5"]
    assert found.title == "retinal_vessel phantoms test"
    assert str(found.folder) == "out/compare/retinal_vessel/phantoms_test"
    assert found.warnings == []


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        (["green", "gren"], {}, "Did you mean green"),
        (["green"], {}, "got green"),
        ([], {}, "got none"),
        (["green", "greener", "green"], {}, "green twice"),
        (PAIR, {"grener": "w.pt"}, "Did you mean greener"),
        (PAIR, {"green": "w.pt"}, "which uses none"),
        (["green", "learned"], {}, "medseg train retinal_vessel --method learned"),
        (["green", "learned"], {}, "--weights learned=FILE"),
    ],
)
def test_names_and_weights_come_before_the_data(bundle, monkeypatch, names, weights, message):
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    with pytest.raises(UsageError, match=message):
        plan(bundle, names, weights)


def test_without_data(bundle, monkeypatch):
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    with pytest.raises(UsageError, match="MEDSEG_DATA is not set"):
        plan(bundle, PAIR)


def test_weights_that_are_missing(bundle, chosen):
    with pytest.raises(WeightsError, match=r"no file nowhere\.pt"):
        plan(bundle, ["green", "learned"], {"learned": "nowhere.pt"}, chosen)


@pytest.mark.parametrize("key", ["method", "weights", "weights_fold"])
def test_keys_of_one_method(bundle, chosen, key):
    with pytest.raises(UsageError, match="--weights NAME=FILE"):
        plan(bundle, PAIR, overrides={**chosen, key: "x"})


def test_keys_apply_to_the_methods_that_have_them(bundle, chosen, weights):
    """`threshold` is in every inference file, the size of windows in that of the windows alone."""
    keys = {"threshold": 0.3, "inferer::inferer::inferer::roi_size": [64, 64]}
    given = {"residual_unet": str(weights)}
    found = plan(bundle, ["green", "residual_unet"], given, {**chosen, **keys})
    rule, network = found.entries
    assert rule.changed == {**chosen, "threshold": 0.3}
    assert network.changed == {**chosen, **keys}
    with pytest.raises(UsageError, match="inferer::inferer::inferer::roi_size"):
        plan(bundle, PAIR, overrides={**chosen, **keys})
    with pytest.raises(UsageError, match="Did you mean threshold"):
        plan(bundle, PAIR, overrides={**chosen, "treshold": 0.3})


def test_weights_that_were_trained_on_a_case(bundle, chosen, weights):
    items = load_items(chosen["manifests"], "test")
    write_lineage(weights, lineage_of_items(items[:1]))
    given = {"learned": str(weights)}
    with pytest.raises(DataError, match="1 of 2 cases that trained learned") as caught:
        plan(bundle, ["green", "learned"], given, chosen)
    assert "--weights learned=FILE" in caught.value.advice
    found = plan(bundle, ["green", "learned"], given, {**chosen, "split": "validation"})
    assert found.warnings == []


def test_weights_of_unknown_origin(bundle, chosen, weights):
    (warning,) = plan(bundle, ["green", "learned"], {"learned": str(weights)}, chosen).warnings
    assert "unknown which cases the weights of learned were trained on" in warning


def test_the_subjects_that_a_fold_holds_out(bundle, chosen, phantom_data):
    """All entries of the items are kept, and each subject is in one fold."""
    folds = [plan(bundle, PAIR, overrides={**chosen, "fold": [k, 2]}) for k in range(2)]
    subjects = [{item["subject"] for item in fold.items} for fold in folds]
    assert not subjects[0] & subjects[1]
    assert subjects[0] | subjects[1] == {f"phantom_{seed}" for seed in range(4)}
    assert folds[0].split == "fold 0 of 2"
    assert folds[0].folder.name == "phantoms_fold_0_of_2"
    assert all(item["data_set"] == "phantoms" for item in folds[0].items)


def test_a_fold_has_no_split(bundle, chosen):
    with pytest.raises(UsageError, match="no split beside a fold"):
        plan(bundle, PAIR, overrides={**chosen, "fold": [0, 2], "split": "test"})


def test_unsound_data(bundle, chosen, phantom_data):
    shutil.copy(phantom_data.folder / "0.png", phantom_data.folder / "4.png")
    with pytest.raises(DataError, match="the same image content"):
        plan(bundle, PAIR, overrides=chosen)


def test_an_empty_split(bundle, chosen, phantom_data):
    phantom_data.content["test"] = []
    phantom_data.save()
    assert json.loads(phantom_data.manifest.read_text())["test"] == []
    with pytest.raises(DataError, match="items in the split test"):
        plan(bundle, PAIR, overrides=chosen)
