"""Configurations with a payload: the audit names the line, executes nothing, and medseg does not run them."""

import pytest
from hostile_bundle import INFERENCE, LINES, write_bundle, write_hostile

from medseg.bundle import open_bundle, parse
from medseg.bundle.audit import audit_bundle
from medseg.errors import BundleError


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def test_the_sound_bundle_has_no_findings(tmp_path):
    assert audit_bundle(write_bundle(tmp_path / "sound")).findings == ()


@pytest.mark.parametrize("name", sorted(LINES))
def test_the_line_is_named_and_nothing_is_executed(name, tmp_path, canary):
    _, rule, part, _ = LINES[name]
    bundle = write_hostile(tmp_path / "evil", name, canary)
    lines = (bundle / "configs" / "inference.yaml").read_text().splitlines()
    report = audit_bundle(bundle)
    named = [one for one in report.findings if one.severity == "refuse" and one.rule == rule and one.line]
    assert any(part in lines[one.line - 1] for one in named), report.findings
    assert all(one.line > len(INFERENCE.splitlines()) for one in named)
    assert not canary.exists()


@pytest.mark.parametrize("name", sorted(LINES))
def test_medseg_does_not_parse_it(name, tmp_path, canary):
    bundle = write_hostile(tmp_path / "evil", name, canary)
    with pytest.raises(BundleError, match=r"configs/inference\.yaml:\d+: .*MEDSEG_TRUSTED_BUNDLES=evil@"):
        parse(open_bundle(str(bundle)), "inference.yaml")
    assert not canary.exists()


@pytest.mark.parametrize("name", sorted(name for name, row in LINES.items() if row[3]))
def test_by_monai_the_payload_works(name, tmp_path, canary, monkeypatch):
    """So that the tests above are about payloads, and not about lines that never would have done anything."""
    from monai.bundle import ConfigParser

    bundle = write_hostile(tmp_path / "evil", name, canary)
    monkeypatch.chdir(bundle)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    try:
        parser.get_parsed_content(LINES[name][3].replace("CANARY", str(canary)))
    except Exception as error:  # some payloads work and then fail
        print(f"{type(error).__name__}: {error}")
    assert canary.exists()
