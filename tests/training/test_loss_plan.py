"""What a comparison of losses refuses before the first training, and what it leaves the same."""

import json

import pytest
from ladder_bundle import copy_bundle

from medseg.bundle import training_files
from medseg.errors import UsageError
from medseg.training.loss_plan import plan_losses

pytestmark = pytest.mark.seconds
BOTH = ["dice_ce", "tversky"]


@pytest.fixture
def plan(phantom_data):
    def make(losses=BOTH, task="retinal_vessel", **options):
        overrides = {"manifests": [str(phantom_data.manifest)], "cache_dir": None, "epochs": 3}
        overrides |= options.pop("overrides", {})
        return plan_losses(task, losses, overrides=overrides, **options)

    return make


def test_a_plan(plan):
    found = plan()
    assert (found.method, found.split, found.epochs, found.reference) == (
        "residual_unet", "validation", 3, "dice_ce",
    )  # fmt: skip
    assert str(found.folder) == "out/losses/retinal_vessel/residual_unet/phantoms_validation"
    assert [item["subject"] for item in found.items] == ["phantom_3"]
    assert len(found.training_items) == 3
    assert found.overrides["val_interval"] == 3  # no weights are chosen on the scored cases
    assert found.warnings == []


def test_epochs_that_depend_on_the_device(plan):
    """As in a proposed bundle."""
    found = plan(overrides={"epochs": "$500 if torch.device(@device).type == 'cuda' else 5"})
    assert found.epochs in (5, 500)
    assert found.overrides["val_interval"] == found.epochs


def test_the_reference(plan):
    assert plan(["tversky", "dice_ce"]).reference == "dice_ce"
    assert plan(["tversky", "focal"]).reference == "tversky"


def test_other_cases(plan):
    assert [item["subject"] for item in plan(split="test").items] == ["phantom_4", "phantom_5"]
    fold = plan(overrides={"fold": [0, 2]})
    assert fold.split == "fold 0 of 2"
    scored, trained = ({str(item["image"]) for item in items} for items in (fold.items, fold.training_items))
    assert len(scored) == 2
    assert not scored & trained


def test_weights_chosen_on_the_scored_cases(plan):
    assert "were chosen on the cases that are scored" in plan(overrides={"val_interval": 1}).warnings[0]
    assert plan(overrides={"val_interval": 1}, split="test").warnings == []


def test_thresholds_are_chosen_on_few_cases(plan):
    found = plan(overrides={"train::datalist": [{"image": f"{number}.png"} for number in range(40)] * 2})
    assert len(found.training_items) == 12
    names = [int(item["image"].removesuffix(".png")) for item in found.training_items]
    assert names == sorted(set(names))
    assert names[-1] > 30


REFUSED = {
    "unknown": ({"losses": ["dice_ce", "tverksy"]}, "the name of a loss; got tverksy. Did you mean tversky?"),
    "alone": ({"losses": ["dice_ce"]}, "two or more losses, each once; got dice_ce."),
    "none": ({"losses": []}, "two or more losses, each once; got none."),
    "twice": ({"losses": ["mse", "mse"]}, "two or more losses, each once; got mse twice."),
    "no epochs": ({"overrides": {"epochs": 0}}, "1 epoch or more; got 0."),
    "half an epoch": ({"overrides": {"epochs": 0.5}}, "1 epoch or more; got 0.5."),
    "fitted": ({"method": "svm"}, "got svm, which is fitted at once"),
    "forest": ({"method": "random_forest"}, "got random_forest, which is fitted at once"),
    "not trained": ({"method": "threshold"}, "a method that learns from a data set"),
    "no such method": ({"method": "resnet"}, "a method that retinal_vessel has"),
    "one loss for all": ({"overrides": {"loss_name": "mse"}}, "got loss_name"),
    "one folder for all": ({"overrides": {"ckpt_dir": "x"}}, "got ckpt_dir"),
    "another end": ({"overrides": {"patience": 2}}, "got patience"),
    "misspelt key": ({"overrides": {"learning_rat": 1}}, "Did you mean learning_rate"),
    "on the training": ({"split": "training"}, "the split validation or test, or a fold; got training."),
    "no such fold": ({"overrides": {"fold": [9, 3]}}, "and a fold of them counted from 0; got fold 9 of 3."),
    "split and fold": ({"split": "test", "overrides": {"fold": [0, 2]}}, "got test beside a fold"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(plan, options, message):
    with pytest.raises(UsageError) as caught:
        plan(**options)
    assert message in str(caught.value)


def test_a_bundle_whose_loss_has_no_name(plan, tmp_path):
    root = copy_bundle(tmp_path)
    file = root / "configs" / "train.yaml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("loss_name:")]
    file.write_text("\n".join(lines).replace('"@loss_name"', "dice_ce"))
    with pytest.raises(UsageError, match=r"a train\.yaml with loss_name; got that of"):
        plan(task=str(root))


def test_a_network_of_the_ladder(plan):
    found = plan(method="unet")
    assert found.method == "unet"
    assert list(found.files) == training_files(found.bundle, "unet")
    assert json.dumps(dict(found.overrides))  # plain values, as MLflow wants them
