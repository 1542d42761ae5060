"""A node.yaml: what is wrong in it is refused at the start, with its place in the file."""

import pytest

from medseg.errors import UsageError
from medseg.server.config_file import read_config

GOOD = """
home: home
keep_days: 2
dicom:
  ae_title: SEGMENTER
  port: 0
  known:
    - {ae_title: ORTHANC, host: 127.0.0.1}
rest: {port: 0, tokens_file: tokens.txt}
archives:
  pacs: {kind: dimse, ae_title: ORTHANC, host: 127.0.0.1, port: 4242}
  web: {kind: dicomweb, url: "http://127.0.0.1:8042/dicom-web"}
rules:
  - name: chest CT
    when: {modality: CT, body_part: [CHEST, LUNG], description: "*thorax*"}
    task: lung_ct
    formats: [dicom-seg, rtstruct]
    send_to: web
"""


def read(folder, text):
    file = folder / "node.yaml"
    file.write_text(text)
    return read_config(file)


def test_a_good_file(tmp_path):
    config = read(tmp_path, GOOD)
    assert config.home == tmp_path / "home"
    assert config.rest.tokens_file == tmp_path / "tokens.txt"
    assert (config.keep_days, config.workers) == (2.0, 1)
    (rule,) = config.rules
    assert (rule.when.modality, rule.when.body_part, rule.send_to) == (("CT",), ("CHEST", "LUNG"), ("web",))
    assert config.archives["pacs"].calling == "SEGMENTER"
    assert config.dicom.limits.instances == 20_000


CHANGES = {
    "misspelt key": ("keep_days", "keepdays", "`keepdays`. Did you mean keep_days?", "line 3"),
    "misspelt key of a rule": ("modality: CT", "modalty: CT", "Did you mean modality?", "line 15"),
    "misspelt key of a sender": ("host: 127.0.0.1}\n", "hots: x}\n", "Did you mean host?", "line 8"),
    "misspelt key of an archive": ("url:", "ulr:", "Did you mean url?", "archive"),
    "misspelt task": ("lung_ct", "lung_tc", "Did you mean lung_ct?", "line 14"),
    "misspelt format": ("rtstruct", "rtstrukt", "Did you mean rtstruct?", "rule chest CT"),
    "misspelt archive": ("send_to: web", "send_to: wbe", "Did you mean web?", "rule chest CT"),
    "unknown method": ("task: lung_ct", "task: lung_ct\n    method: nothing", "nothing", "line 14"),
    "key twice": ("keep_days: 2", "keep_days: 2\nkeep_days: 3", "a second time", "line 4"),
    "a port that is none": ("port: 4242", "port: 424242", "a port from 1 to 65535", "424242"),
    "a text as a number": ("keep_days: 2", "keep_days: soon", "`keep_days`", "'soon'"),
    "a negative time": ("keep_days: 2", "keep_days: -1", "greater than 0", "line 3"),
    "an AE title that is none": ("SEGMENTER", "MUCH_TOO_LONG_A_TITLE", "1 to 16 ASCII", "line 5"),
    "no sender": ("    - {ae_title: ORTHANC, host: 127.0.0.1}", "      []", "at least 1 item", "line 7"),
    "no DICOM for an archive": (
        "[dicom-seg, rtstruct]",
        "html",
        "a DICOM format in rule chest CT",
        "got html",
    ),
    "only usual formats for an archive": (
        "    formats: [dicom-seg, rtstruct]\n",
        "",
        "no `formats`",
        "rtstruct",
    ),
    "a device that is none": ("keep_days: 2", "device: gpu", "auto, cpu, cuda or cuda:N", "line 3"),
    "a text as a sender": (
        "{ae_title: ORTHANC, host: 127.0.0.1}\n",
        "ORTHANC\n",
        "keys and values",
        "line 8",
    ),
    "a home that is none": ("home: home", "home: [a]", "to be a path", "line 2"),
    "no home": ("home: home", "", "`home` in the file", "no such key"),
    "a yes that YAML takes for a truth": ("modality: CT", "modality: yes", "to be a list", "line 15"),
    "an empty pattern": ("modality: CT", 'modality: ""', "at least 1 character", "line 15"),
    "no YAML": ("home: home", "home: [", "YAML in node.yaml", "line"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_told_with_its_place(tmp_path, name):
    old, new, *told = CHANGES[name]
    assert old in GOOD
    with pytest.raises(UsageError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert [text for text in told if text not in str(error.value)] == []


@pytest.mark.parametrize("text", ["", "- a\n- b", "text"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match="expected keys and values in node"):
        read(tmp_path, text)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_config(tmp_path / "node.yaml")


def test_neither_service(tmp_path):
    with pytest.raises(UsageError, match="`dicom` or `rest`"):
        read(tmp_path, "home: home")


def test_dicom_without_rules(tmp_path):
    with pytest.raises(UsageError, match="what comes by DICOM needs a rule"):
        read(tmp_path, "home: home\ndicom: {known: [{ae_title: A}]}")
