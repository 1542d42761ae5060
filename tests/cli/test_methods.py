"""`medseg methods`: what there is to choose from."""

import pytest

from medseg.methods.features.catalogue import FEATURES


def listed(run_medseg, capsys, *words):
    assert run_medseg("methods", *words) == 0
    return capsys.readouterr().out.splitlines()


def test_the_methods_of_a_task(run_medseg, capsys):
    lines = listed(run_medseg, capsys, "lung_ct")
    assert all(line.startswith("lung_ct ") for line in lines)
    assert any(line.split()[1] == "classical" and "the default" in line for line in lines)


def test_every_feature_is_listed(run_medseg, capsys):
    lines = listed(run_medseg, capsys, "--features")
    assert [line.split()[0].removesuffix("@SCALE") for line in lines] == list(FEATURES)
    for line, feature in zip(lines, FEATURES.values(), strict=True):
        assert line.endswith(feature.summary)
        assert ("@SCALE" in line) == feature.scaled
        axes = ", ".join(f"{number}D" for number in feature.dimensions)
        assert line.split(maxsplit=1)[1].startswith(f"{axes}  ")


@pytest.mark.parametrize(("task", "axes"), [("lung_ct", 3), ("retinal_vessel", 2)])
def test_the_features_of_a_task_are_those_of_its_dimensions(run_medseg, capsys, task, axes):
    names = [
        line.split()[0].removesuffix("@SCALE") for line in listed(run_medseg, capsys, task, "--features")
    ]
    assert names == [name for name, feature in FEATURES.items() if axes in feature.dimensions]


def test_an_unknown_task(run_medseg, capsys):
    assert run_medseg("methods", "lung_tc", "--features") == 2
    assert "Did you mean lung_ct" in capsys.readouterr().err
