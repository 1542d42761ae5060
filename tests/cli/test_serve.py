"""medseg serve: what is told at the start, and the example of the how-to."""

import re

import pytest
import yaml
from doc_pages import ROOT

from medseg.cli import main


def example():
    page = (ROOT / "docs" / "how-to" / "node.md").read_text()
    return next(text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "home:" in text)


def check(folder, text):
    (folder / "node.yaml").write_text(text)
    return main(["serve", "--config", str(folder / "node.yaml"), "--check"])


def test_the_example_of_the_how_to(tmp_path, capsys):
    assert check(tmp_path, example()) == 1
    assert "pacs-token.txt, which is missing" in capsys.readouterr().err
    (tmp_path / "pacs-token.txt").write_text("secret")
    assert check(tmp_path, example()) == 1
    assert "expected a file of tokens" in capsys.readouterr().err
    main(["serve", "--new-token", "anna"])
    (tmp_path / "tokens.txt").write_text(capsys.readouterr().out)
    assert check(tmp_path, example()) == 0
    assert "2 rules, 2 archives, no fault found" in capsys.readouterr().out


def test_defaults_in_the_how_to_are_those_of_the_code():
    from medseg.server.config import DicomLimits, NodeConfig

    told = yaml.safe_load(example())
    for name in ("workers", "timeout_s", "keep_days"):
        assert told[name] == NodeConfig.model_fields[name].default
    limits = DicomLimits().model_dump()
    assert {name: limits[name] for name in told["dicom"]["limits"]} == told["dicom"]["limits"]


def test_a_misspelt_key_ends_with_2_and_its_line(tmp_path, capsys):
    assert check(tmp_path, example().replace("quiet_s", "quite_s")) == 2
    error = capsys.readouterr().err
    assert "got `quite_s`. Did you mean quiet_s?" in error
    assert "node.yaml, line 9" in error


def test_no_file_ends_with_2(tmp_path, capsys):
    assert main(["serve", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_config_is_required(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
