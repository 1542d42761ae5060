"""Named steps, and where an overlay puts one."""

import pytest
from doc_pages import ROOT, blocks
from monai.bundle import ConfigParser

from medseg.bundle import find
from medseg.errors import UsageError
from medseg.transforms import steps

BASE = """
preprocessing:
  _target_: medseg.transforms.steps
  first: {_target_: DeleteItemsd, keys: a}
  last: {_target_: DeleteItemsd, keys: z}
"""
OVERLAY = """
+preprocessing:
  between: {_target_: DeleteItemsd, keys: m}
  after: {between: first}
"""


def keys(transforms):
    return [transform.keys for transform in transforms.transforms]


def parsed(tmp_path, *texts, **changes):
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(text)
    parser = ConfigParser()
    parser.read_config(files)
    for key, value in changes.items():
        parser[key] = value
    return keys(parser.get_parsed_content("preprocessing"))


def test_in_the_order_of_the_configuration(tmp_path):
    assert parsed(tmp_path, BASE) == [("a",), ("z",)]


def test_an_overlay_adds_a_step_between_two(tmp_path):
    assert parsed(tmp_path, BASE, OVERLAY) == [("a",), ("m",), ("z",)]


def test_without_a_place_it_comes_last(tmp_path):
    assert parsed(tmp_path, BASE, OVERLAY.split("  after")[0]) == [("a",), ("z",), ("m",)]


def test_a_disabled_step(tmp_path):
    assert parsed(tmp_path, BASE, **{"preprocessing::first::_disabled_": True}) == [("z",)]


def test_a_step_that_there_is_not():
    with pytest.raises(UsageError, match="Did you mean first"):
        steps(after={"last": "frist"}, first=None, last=None)


def test_the_example_of_the_documentation(tmp_path):
    ((_, overlay),) = blocks(ROOT / "docs" / "ladder" / "preprocessing.md", "yaml")
    (tmp_path / "overlay.yaml").write_text(overlay)
    parser = ConfigParser()
    parser.read_config([find("retinal_vessel") / "configs" / "inference.yaml", tmp_path / "overlay.yaml"])
    names = [type(step).__name__ for step in parser.get_parsed_content("preprocessing").transforms]
    place = names.index("AnisotropicDiffusiond")
    assert names[place - 1 : place + 2] == [
        "ResizeFieldOfViewd",
        "AnisotropicDiffusiond",
        "NormalizeFieldOfViewd",
    ]
