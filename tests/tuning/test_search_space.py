"""Search spaces: what a file may say, and that those of the bundles fit their configurations."""

import optuna
import pytest
from ladder_bundle import copy_bundle

from medseg.bundle import (
    inference_files,
    method_names,
    open_bundle,
    read_method,
    shipped_root,
    training_files,
)
from medseg.errors import BundleError, UsageError
from medseg.tuning.search_space import check_search_space, read_search_space

SHIPPED = sorted(shipped_root().glob("*/configs/search/*.yaml"))
FILES = ["inference.yaml", "methods/threshold.yaml"]
GOOD = """\
parameters:
  sigma: {low: 5, high: 60, default: 30}
  weight: {low: -2.0, high: -0.3, default: -1.1}
  feature: {choices: [gaussian@1, gaussian@2], default: gaussian@1}
set:
  network_def::divide::sigma: "@sigma"
  network_def::divide::weight: $2 * @weight - @weight
  network_def::features::names: ["@feature"]
"""


@pytest.fixture
def bundle(tmp_path):
    return open_bundle(str(copy_bundle(tmp_path)))


@pytest.fixture
def written(bundle):
    """The space of a text, read and checked."""

    def read(text, given=()):
        bundle.config("search").mkdir(exist_ok=True)
        bundle.config("search/threshold.yaml").write_text(text)
        space = read_search_space(bundle, "threshold")
        check_search_space(space, bundle, FILES, dict(given))
        return space

    return read


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parts[-4]}-{file.stem}")
def test_the_shipped_spaces(file):
    """Each belongs to a method, sets keys that there are, and begins with the bundle's own values."""
    bundle = open_bundle(file.parts[-4])
    learns = read_method(bundle, file.stem).kind == "learned"
    files = (training_files if learns else inference_files)(bundle, file.stem)
    space = read_search_space(bundle, file.stem)
    check_search_space(space, bundle, files, {})
    study = optuna.create_study()
    study.enqueue_trial(space.default)
    assert space.draw(study.ask()) == space.default


@pytest.mark.parametrize("task", ["breast_ultrasound", "lung_ct", "retinal_vessel"])
def test_every_method_has_a_space(task):
    spaces = {file.stem for file in SHIPPED if file.parts[-4] == task}
    assert spaces == set(method_names(open_bundle(task)))


def test_values_become_overrides(written):
    space = written(GOOD)
    assert space.overrides({"sigma": 20, "weight": -0.5, "feature": "gaussian@2"}) == {
        "network_def::divide::sigma": 20,
        "network_def::divide::weight": -0.5,
        "network_def::features::names": ["gaussian@2"],
    }


def test_the_network_of_vessels_changes_width_and_depth():
    space = read_search_space(open_bundle("retinal_vessel"), "residual_unet")
    overrides = space.overrides({**space.default, "width": 24, "depth": 4})
    assert overrides["network_def::channels"] == [24, 48, 96, 144]
    assert overrides["network_def::strides"] == [1, 2, 2]


def test_drawn_values_lie_in_the_space(written):
    space, study = written(GOOD), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = [space.draw(study.ask()) for _ in range(30)]
    assert {type(values["sigma"]) for values in drawn} == {int}
    assert all(5 <= values["sigma"] <= 60 and -2 <= values["weight"] <= -0.3 for values in drawn)
    assert {values["feature"] for values in drawn} == {"gaussian@1", "gaussian@2"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low: 5", "lowest: 5", "sigma::lowest. Did you mean low?"),
        ("divide::sigma", "divide::sigmas", "sigmas. Did you mean sigma?"),
        ("set:", "sets:", "sets. Did you mean set?"),
        ("default: 30", "default: 31", "sigma = 30; got 31"),
        ("default: 30", "default: 300", "a default of sigma that the search can reach; got 300"),
        ("[gaussian@1, gaussian@2]", "[]", "a list of choices of feature"),
        ("low: 5, ", "", "sigma with low"),
        ("low: 5, high: 60", "low: 60, high: 5", "low below high of sigma; got 60 and 5"),
        ("high: 60, default: 30", "high: 60, default: 30, step: -1", "a step of sigma above 0"),
        ("high: 60, default: 30", "high: 60, default: 30, step: 0.5", "of 1 or more of whole numbers"),
        ("low: 5", "low: five", "numbers as default, low and high of sigma"),
        ("{low: 5, high: 60, default: 30}", "30", "fields of the parameter sigma; got 30"),
        ("high: -0.3", "high: -0.3, log: true", "a positive range without step of weight"),
        ("$2 * @weight", "$2 * @weihgt", "weihgt"),
        ("parameters:", "parameters: [", "a search space in YAML"),
    ],
)
def test_a_faulty_space_is_refused(written, old, new, message):
    assert old in GOOD
    with pytest.raises((BundleError, UsageError)) as error:
        written(GOOD.replace(old, new))
    assert message in str(error.value)


def test_an_expression_that_fails_at_one_end_is_refused_before_the_search(written):
    with pytest.raises(BundleError, match="expressions of the parameters"):
        written(GOOD.replace("$2 * @weight - @weight", "$-1.1 if @weight > -2 else 1 / 0"))


def test_a_key_can_not_be_set_twice(written):
    with pytest.raises(UsageError, match="network_def::divide::sigma"):
        written(GOOD, {"network_def::divide::sigma": 30})


def test_a_method_without_a_space_names_those_that_have_one(bundle):
    bundle.config("search/rnn.yaml").unlink()
    with pytest.raises(UsageError, match=r"got rnn.*kmeans.*residual_unet"):
        read_search_space(bundle, "rnn")
