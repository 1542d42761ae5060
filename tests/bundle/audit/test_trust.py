"""Which bundles are parsed: those that pass, and those named by content or folder."""

import time

import pytest
from doc_pages import ROOT
from hostile_bundle import write_bundle

from medseg.bundle import open_bundle, parse, require_data, shipped_root
from medseg.bundle.audit import audit_bundle
from medseg.errors import BundleError

EVIL = "evil: $Path('canary').touch()\n"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDSEG_TRUSTED_BUNDLES", raising=False)
    return write_bundle(tmp_path / "evil", EVIL)


def read(folder):
    return parse(open_bundle(str(folder)), "inference.yaml")["evil"]


def test_a_sound_bundle_is_parsed(tmp_path):
    parser = parse(open_bundle(str(write_bundle(tmp_path / "sound"))), "inference.yaml")
    assert parser["network_def"]["spatial_dims"] == 2


def test_the_message_says_what_is_wrong_and_how_to_allow_it(evil, monkeypatch):
    with pytest.raises(BundleError) as caught:
        read(evil)
    assert "configs/inference.yaml:14: the attribute touch" in str(caught.value)
    assert "(evil: $Path('canary').touch())" in str(caught.value)
    setting = str(caught.value).split()[-1]
    name, _, value = setting.partition("=")
    monkeypatch.setenv(name, f"another@0, {value}")
    assert read(evil) == "$Path('canary').touch()"


def test_trust_ends_where_a_file_is_changed(evil, monkeypatch):
    monkeypatch.setenv("MEDSEG_TRUSTED_BUNDLES", f"evil@{audit_bundle(evil).digest}")
    assert read(evil)
    (evil / "LICENSE").write_text("another\n")
    with pytest.raises(BundleError, match="evil is not one"):
        read(evil)


@pytest.mark.parametrize("named", ["evil", "evil@", "evil@0", "@", "*", "bundles/evil", "."])
def test_a_name_alone_is_no_identity(named, evil, monkeypatch):
    monkeypatch.chdir(evil.parent)
    monkeypatch.setenv("MEDSEG_TRUSTED_BUNDLES", named)
    with pytest.raises(BundleError):
        read(evil)


def test_a_folder_is_trusted_whatever_is_changed_in_it(evil, monkeypatch):
    monkeypatch.setenv("MEDSEG_TRUSTED_BUNDLES", str(evil))
    assert read(evil)
    write_bundle(evil, EVIL.replace("canary", "other"))
    assert read(evil) == "$Path('other').touch()"
    with pytest.raises(BundleError):
        read(write_bundle(evil.parent / "evil_2", EVIL))


def test_a_bundle_beside_the_shipped_ones_is_no_exception(tmp_path, monkeypatch):
    monkeypatch.setattr("medseg.bundle.files.shipped_root", lambda: tmp_path)
    write_bundle(tmp_path / "evil", EVIL)
    with pytest.raises(BundleError, match="evil is not one"):
        read("evil")


def test_a_change_is_noticed_in_a_running_process(tmp_path):
    folder = write_bundle(tmp_path / "evil")
    parse(open_bundle(str(folder)), "inference.yaml")
    write_bundle(folder, EVIL)
    with pytest.raises(BundleError):
        read(folder)


@pytest.mark.parametrize("name", ["../../other.yaml", "/etc/other.yaml", "../.git/other.yaml"])
def test_configurations_outside_of_the_bundle_are_not_read(name, tmp_path):
    folder = write_bundle(tmp_path / "sound", files={".git/other.yaml": EVIL})
    with pytest.raises(BundleError, match="configuration files inside the bundle"):
        parse(open_bundle(str(folder)), name)


@pytest.mark.parametrize(
    "value", ["$open('a')", "%x", {"x": ["$1"]}, {"x": {"_target_": "os.system"}}, {"$x": 1}, [("a", "$1")]]
)
def test_computed_values_are_no_expressions(value):
    with pytest.raises(BundleError, match="which would be evaluated"):
        require_data("the inference", value)
    require_data("the inference", {"a": [1, None, "text", ("b", 2.0)], "c": {}})


@pytest.mark.parametrize("task", ["lung_ct", "breast_ultrasound", "retinal_vessel"])
def test_the_shipped_bundles_pass(task):
    report = audit_bundle(shipped_root() / task)
    assert report.findings == ()
    assert report.files > 20


def test_the_example_of_the_documentation_passes():
    assert audit_bundle(ROOT / "docs" / "examples" / "kidney_ct").findings == ()


@pytest.mark.seconds
def test_it_costs_little(tmp_path):
    folder = write_bundle(tmp_path / "sound")
    bundle = open_bundle(str(folder))
    parse(bundle, "inference.yaml")
    started = time.process_time()
    for _ in range(20):
        parse(bundle, "inference.yaml")
    assert (time.process_time() - started) / 20 < 0.1
