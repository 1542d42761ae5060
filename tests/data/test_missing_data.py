"""What is said of data that are not there: those that a command makes are made first."""

import re
import shlex

import pytest
from doc_pages import ROOT

from medseg.data.manifests import require_sound
from medseg.errors import DataError


def test_data_that_a_command_makes_are_made_first(phantom_data):
    phantom_data.content["made_by"] = "python -m make phantoms"
    phantom_data.save()
    require_sound(phantom_data.manifest)
    (phantom_data.folder / "5.png").unlink()
    with pytest.raises(DataError) as error:
        require_sound(phantom_data.manifest)
    assert error.value.advice == "Make the missing files first: python -m make phantoms"


def test_other_faults_are_corrected(phantom_data):
    phantom_data.content["made_by"] = "python -m make phantoms"
    phantom_data.content["validation"][0]["subject"] = "phantom_0"
    phantom_data.save()
    with pytest.raises(DataError, match="and correct the data"):
        require_sound(phantom_data.manifest)


@pytest.mark.parametrize("name", ["lung_phantoms", "lung_silver", "lung_slices"])
def test_the_command_that_makes_data_names_a_configuration(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    with pytest.raises(DataError, match=re.escape("bundles/lung_ct/configs/data.yaml")) as error:
        require_sound(name)
    words = shlex.split(error.value.advice)
    assert (ROOT / words[words.index("--config_file") + 1]).is_file()
