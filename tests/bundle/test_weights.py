"""Weights of one training or of a cross-validation: in order, whole, and of this network."""

import pytest
import torch

from medseg import bundle as bundles
from medseg.bundle import (
    load_network,
    weights_files,
)
from medseg.errors import WeightsError
from medseg.training import checkpoint


def constant(value):
    layer = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(layer.weight, 0)
    torch.nn.init.constant_(layer.bias, value)
    return layer


@pytest.fixture
def folds(tmp_path):
    """Five networks that give 0, 1, 4, 9 and 16: their mean is 6."""
    for number in (3, 0, 4, 2, 1):
        checkpoint.save(tmp_path / f"fold_{number}" / "models" / "model.pt", constant(number**2).state_dict())
    (tmp_path / "fold_5").mkdir()  # of a training that has not begun
    (tmp_path / "tracking").mkdir()
    return tmp_path


def test_an_ensemble_of_folds(folds):
    network = constant(-1).train()
    ensemble = load_network(network, folds)
    assert [float(member.bias.detach()) for member in ensemble.members] == [0, 1, 4, 9, 16]
    assert ensemble(torch.rand(3, 2)).tolist() == [[6.0]] * 3
    assert not any(module.training for module in ensemble.modules())
    # The network that it was made from is its own.
    assert float(network.bias.detach()) == -1


def model(folds, number):
    return folds / f"fold_{number}" / "models" / "model.pt"


def test_files_of_folds_are_in_order(folds):
    expected = [model(folds, number) for number in range(5)]
    assert weights_files(folds) == weights_files(str(folds)) == expected


@pytest.mark.parametrize("fold", range(5))
def test_one_of_the_folds(folds, fold):
    """As the file by itself."""
    assert weights_files(folds, fold) == [model(folds, fold)]
    for network in (
        load_network(constant(-1), folds, fold=fold),
        load_network(constant(-1), model(folds, fold)),
    ):
        assert isinstance(network, torch.nn.Linear)
        assert float(network.bias.detach()) == fold**2
        assert not network.training


def test_a_file_has_a_pin_that_a_folder_has_not(folds):
    pinned = bundles.sha256(model(folds, 1))
    load_network(constant(0), model(folds, 1), pinned)
    with pytest.raises(WeightsError, match="weights with the SHA-256"):
        load_network(constant(0), model(folds, 2), pinned)


def test_a_method_without_weights():
    assert weights_files(None) == []
    network = load_network(constant(3).train(), None)
    assert float(network.bias.detach()) == 3
    assert not network.training


@pytest.mark.parametrize(("name", "fold"), [("", None), ("", 0), ("fold_0", None), ("fold_0", 0)])
def test_no_folds(tmp_path, name, fold):
    (tmp_path / "fold_0").mkdir()
    for search in (weights_files, lambda folder, fold: load_network(constant(0), folder, fold=fold)):
        with pytest.raises(WeightsError, match="the output_dir of a cross-validation") as error:
            search(tmp_path / name, fold)
        assert "--folds" in error.value.advice


@pytest.mark.parametrize("fold", [5, -1])
def test_a_fold_that_is_not_there(folds, fold):
    with pytest.raises(WeightsError, match=f"fold_{fold}/models/model.pt"):
        weights_files(folds, fold)


def test_a_fold_of_a_file(folds):
    with pytest.raises(WeightsError, match="to choose a fold from"):
        weights_files(model(folds, 0), 0)


def test_a_file_that_is_not_there(folds):
    with pytest.raises(WeightsError, match="no file"):
        load_network(constant(0), folds / "missing")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(b""),
        lambda file: torch.save({"weight": torch.zeros(1)}, file),
        lambda file: torch.save(torch.nn.Linear(2, 2).state_dict(), file),
        lambda file: torch.save([1], file),
    ],
)
def test_a_fold_that_does_not_fit(folds, damage):
    damage(folds / "fold_2" / "models" / "model.pt")
    with pytest.raises(WeightsError, match="weights that fit the network"):
        load_network(constant(0), folds)
