"""Files of decisions: what is read, what is refused, and when reviewers agree."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from review_decisions import save

from medseg.errors import UnreadableError, UnsuitableError
from medseg.review.decisions import agreed, read_decisions

SHA = "0" * 64


def entry(decision="accept", **changes):
    return {"mask_sha256": SHA, "decision": decision, "comment": "", "seconds": 3, **changes}


def edit(data="AAAA"):
    return entry("edit", edited={"name": "segmentation.png", "data": data})


def differ(one, other):
    return "" if one.mask_bytes == other.mask_bytes else "another mask"


def test_a_file_is_read(tmp_path):
    cases = {"a": entry(comment="fine"), "b": entry("reject"), "c": edit("aGk=")}
    first, second, third = read_decisions(save(tmp_path / "d.json", cases, reviewer=" Ada "))
    assert (first.case, first.decision, first.reviewer, first.comment) == ("a", "accept", "Ada", "fine")
    assert second.decision == "reject"
    assert (third.mask_name, third.mask_bytes) == ("segmentation.png", b"hi")


@pytest.mark.parametrize(
    "change",
    [
        {"cases": {"a": entry("perhaps")}},
        {"cases": {"a": "accept"}},
        {"cases": {"a": entry(mask_sha256="12")}},
        {"cases": {"a": entry("edit")}},
        {"cases": {"a": edit() | {"decision": "accept"}}},
        {"cases": {"a": edit("###")}},
        {"cases": {"a": entry("edit", edited={"name": "../segmentation.png", "data": "AAAA"})}},
        {"cases": {"a": entry(comment=3)}},
        {"cases": []},
        {"reviewer": " "},
        {"made": "yesterday"},
        {"reviewer": "A" * 201},
        {"reviewer": "Ada\x1b[2J"},
        *(
            {"cases": {"a": entry(seconds=seconds)}}
            for seconds in (-5, True, "4", float("nan"), float("inf"))
        ),
        {"cases": {"a": entry(seconds=10**400)}},
    ],
    ids=lambda change: str(change)[:80],
)
def test_what_is_damaged_is_refused(tmp_path, change):
    file = save(tmp_path / "d.json", **({"cases": {}} | change))
    with pytest.raises(UnreadableError, match=r"d\.json"):
        read_decisions(file)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "medseg-review", "version": 2}', "3"])
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(UnsuitableError, match="which holds something else"):
        read_decisions(tmp_path / "d.json")


@pytest.mark.parametrize("content", ["", "{", '{"a": 1, "a": 2}', "\ud800"])
def test_no_json_is_refused(tmp_path, content):
    (tmp_path / "d.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UnreadableError, match="not whole JSON"):
        read_decisions(tmp_path / "d.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="No such file"):
        read_decisions(tmp_path / "d.json")


def test_the_last_file_of_one_reviewer_counts(tmp_path):
    early = save(tmp_path / "early.json", {"a": entry("reject")}, made="2026-07-01T10:00:00Z")
    late = save(tmp_path / "late.json", {"a": entry()}, made="2026-07-01T12:30:00+02:00")
    assert agreed([late, early], differ)["a"].decision == "accept"


@pytest.mark.parametrize("made", ["9999-12-31T00:00:00Z", None], ids=["far", "an hour"])
def test_a_time_in_the_future_is_refused(tmp_path, made):
    """It would stand above every later decision about the case."""
    made = made or (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with pytest.raises(UnsuitableError, match=r"made before now; got d\.json from .*Set the clock"):
        read_decisions(save(tmp_path / "d.json", {"a": entry()}, made=made))
    almost = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    assert read_decisions(save(tmp_path / "d.json", {"a": entry()}, made=almost))


@pytest.mark.parametrize(
    ("other", "where"),
    [(entry("reject"), "accept by Ada .*reject by Ada"), (entry(comment="x"), "the comments or the seconds")],
    ids=["reject", "comment"],
)
def test_one_reviewer_who_differs_at_one_time_is_refused(tmp_path, other, where):
    files = [save(tmp_path / f"{n}.json", {"a": each}, "Ada") for n, each in enumerate((entry(), other))]
    with pytest.raises(UnsuitableError, match=where):
        agreed(files, differ)
    assert agreed([files[0], files[0]], differ)["a"].digests == read_decisions(files[0])[0].digests


def test_reviewers_who_agree_are_one(tmp_path):
    one = save(tmp_path / "1.json", {"a": edit() | {"comment": "apex"}}, "Ada")
    two = save(tmp_path / "2.json", {"a": edit() | {"comment": "yes"}}, "Ben")
    joined = agreed([one, two], differ)["a"]
    assert joined.reviewer == "Ada and Ben"
    assert joined.comment == "Ada: apex; Ben: yes"
    assert len(joined.digests) == 2


@pytest.mark.parametrize(
    ("other", "where"),
    [(entry("reject"), r"a: accept by Ada \(1\.json\), reject by Ben \(2\.json\)"), (edit(), "edit by Ben")],
    ids=["reject", "edit"],
)
def test_reviewers_who_differ_are_refused(tmp_path, other, where):
    one = save(tmp_path / "1.json", {"a": entry(), "b": entry()}, "Ada")
    two = save(tmp_path / "2.json", {"a": other, "b": entry()}, "Ben")
    with pytest.raises(UnsuitableError, match=where) as refusal:
        agreed([one, two], differ)
    assert "b:" not in refusal.value.got


def test_two_other_masks_differ(tmp_path):
    files = [
        save(tmp_path / f"{name}.json", {"a": edit(data)}, name)
        for name, data in (("Ada", "AAAA"), ("Ben", "BBBB"))
    ]
    with pytest.raises(UnsuitableError, match="another mask"):
        agreed(files, differ)


def test_all_of_a_file_is_kept_by_its_digest(tmp_path):
    """The digest tells any change of what was decided."""
    digests = set()
    for number, change in enumerate(({}, {"comment": "x"}, {"seconds": 4})):
        file = save(tmp_path / f"{number}.json", {"a": entry(**change)})
        digests |= set(read_decisions(file)[0].digests)
    assert len(digests) == 3
    again = tmp_path / "again.json"
    again.write_text(json.dumps(json.loads((tmp_path / "0.json").read_text()), indent=4))
    assert set(read_decisions(again)[0].digests) <= digests
