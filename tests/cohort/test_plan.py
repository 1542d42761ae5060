"""A ledger goes on only with what it was started with, and forgets no case."""

import pytest

from medseg.cohort.ledger import CaseRow, Ledger
from medseg.cohort.plan import Plan, describe, open_ledger
from medseg.errors import UsageError, WeightsError
from medseg.workers import Outcome, Settings

ROWS = [CaseRow(name, (f"/data/{name}.png",)) for name in "abc"]
ABOUT = {"task": "x", "formats": ["png"]}


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path / "cohort.sqlite")
    open_ledger(found, ABOUT, ROWS, resume=False, retry=False, tell=print)
    yield found
    found.close()


def resume(ledger, rows=ROWS, about=ABOUT, retry=False):
    told = []
    open_ledger(ledger, about, rows, resume=True, retry=retry, tell=told.append)
    return told


def finish(ledger, tmp_path, case):
    """A case that is done, with two files."""
    (tmp_path / case).mkdir()
    (tmp_path / case / "measurements.json").write_text("{}")
    (tmp_path / case / "overlay.png").write_text("")
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    outputs = (("measurements.json", digest), ("overlay.png", "x"))
    ledger.finish(case, "done", Outcome(case, "done", outputs=outputs))


def states(ledger):
    return {row.case: row.state for row in ledger.cases()}


def test_an_earlier_ledger_is_not_taken_for_a_new_one(ledger):
    with pytest.raises(UsageError, match=r"cohort.sqlite. Go on with --resume"):
        open_ledger(ledger, ABOUT, ROWS, resume=False, retry=False, tell=print)


def test_other_settings_are_named(ledger):
    with pytest.raises(UsageError, match=r'formats \["png"\]\); got formats \["nifti"\]'):
        resume(ledger, about={**ABOUT, "formats": ["nifti"]})


def test_a_case_that_was_broken_off_is_pending(ledger):
    ledger.begin("a")
    assert resume(ledger) == ["1 case was broken off"]
    assert set(states(ledger).values()) == {"pending"}


def test_new_images_are_added_and_names_stay(ledger):
    rows = [CaseRow("a", ("/more/a.png",)), CaseRow("a-2", ("/data/a.png",)), *ROWS[1:]]
    assert resume(ledger, rows) == ["1 case is new"]
    assert [(row.case, row.source) for row in ledger.cases()] == [
        *((row.case, row.source) for row in ROWS),
        ("a-2", ("/more/a.png",)),
    ]


def test_an_image_that_is_listed_no_longer_stays(ledger):
    assert resume(ledger, ROWS[:1]) == []
    assert len(ledger.cases()) == 3


def test_another_pixel_size_is_refused(ledger):
    with pytest.raises(UsageError, match=r"pixel spacing and subject .* for a"):
        resume(ledger, [CaseRow("a", ("/data/a.png",), pixel_spacing_mm=0.5)])


def test_a_case_whose_files_are_gone_is_made_again(ledger, tmp_path):
    for case in "abc":
        finish(ledger, tmp_path, case)
    (tmp_path / "a" / "overlay.png").unlink()
    (tmp_path / "b" / "measurements.json").unlink()
    assert resume(ledger) == ["2 cases have lost files and are made again"]
    assert states(ledger) == {"a": "pending", "b": "pending", "c": "done"}


def test_a_case_that_was_reviewed_since_is_left(ledger, tmp_path):
    finish(ledger, tmp_path, "a")
    (tmp_path / "a" / "measurements.json").write_text('{"review": 1}')
    (tmp_path / "a" / "overlay.png").unlink()
    assert resume(ledger) == ["1 case has changed since and is left"]
    assert states(ledger)["a"] == "done"


def test_what_is_not_done_is_tried_again_only_when_asked_for(ledger):
    for case, state in zip("abc", ("refused", "failed", "set_aside"), strict=True):
        ledger.finish(case, state, Outcome(case, state), crashed=state == "set_aside")
    assert resume(ledger) == []
    assert resume(ledger, retry=True) == ["3 cases are tried again"]
    assert set(states(ledger).values()) == {"pending"}
    assert [row.crashes for row in ledger.cases()] == [0, 0, 0]


def plan(tmp_path, part=None, formats=(), **settings):
    return Plan(tmp_path, Settings(**{"task": "retinal_vessel", **settings}), formats, part=part)


def test_what_decides_about_a_mask_is_described(tmp_path):
    about = describe(plan(tmp_path, overrides=(("flip_axes", [2]),)), ROWS)
    assert (about["task"], about["method"], about["set"]) == (
        "retinal_vessel",
        "residual_unet",
        {"flip_axes": [2]},
    )
    assert len(about["weights_sha256"]) == 1
    assert about["versions"].keys() == {"medseg", "monai", "torch"}


def test_a_part_belongs_to_one_list(tmp_path):
    whole = [describe(plan(tmp_path), rows) for rows in (ROWS, ROWS[:2])]
    parts = [describe(plan(tmp_path, part=(1, 2)), rows) for rows in (ROWS, ROWS[:2])]
    assert whole[0] == whole[1]
    assert parts[0]["all_cases_sha256"] != parts[1]["all_cases_sha256"]
    assert (parts[0]["part"], whole[0]["part"]) == ("1/2", None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "retinal_vesel"}, "retinal_vessel"),
        ({"method": "residual_net"}, "residual_unet"),
        ({"mode": "panoptik"}, "panoptic"),
        ({"formats": ("pgn",)}, "png"),
    ],
    ids=["task", "method", "mode", "formats"],
)
def test_what_is_misspelt_is_refused_before_anything_is_written(tmp_path, changed, message):
    with pytest.raises(UsageError, match=f"Did you mean .*{message}"):
        describe(plan(tmp_path, **changed), ROWS)


def test_weights_that_are_missing(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pt"):
        describe(plan(tmp_path, weights=str(tmp_path / "none.pt")), ROWS)
