"""A complete series becomes a job by the first rule, once, and late slices lead to a larger one."""

import pytest
from dicom_sender import slices

from medseg.io.dicom.instance import read_instance
from medseg.server.config import DicomConfig, NodeConfig, Rule, When
from medseg.server.dicom.admit import TWO_VERSIONS, admit
from medseg.server.dicom.series import Incoming
from medseg.server.queue import CANCELLED, RUNNING, SET_ASIDE, WAITING, Queue


@pytest.fixture
def config(tmp_path):
    rules = [
        Rule(name="other sender", when=When(calling_ae_title="OTHER"), task="retinal_vessel"),
        Rule(name="chest", when=When(modality="CT", description="*chest*"), task="lung_ct", send_to="pacs"),
    ]
    dicom = DicomConfig(known=({"ae_title": "PACS"},))
    return NodeConfig(home=tmp_path, dicom=dicom, rules=rules)


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "queue.sqlite")
    yield made
    made.close()


@pytest.fixture
def arrive(config, queue, tmp_path):
    """Data sets arrive, and their series is complete: the job, and whether it is new."""
    incoming = Incoming(tmp_path, quiet_s=0, most=1000)

    def arrive(data_sets, sender="PACS"):
        for data_set in data_sets:
            path = incoming.temporary / "object.dcm"
            data_set.save_as(path, enforce_file_format=True)
            incoming.put(path, read_instance(path), sender)
        (folder,) = incoming.complete()
        job, is_new = admit(folder, config, queue)
        assert incoming.complete() == []
        return queue.get(job), is_new

    return arrive


def chest(count=3, **more):
    return slices(count, SeriesDescription="CHEST 1.0", **more)


def files(job):
    return sorted((job.folder / "in").glob("*.dcm"))


def test_the_rule_tells_what_is_done(arrive):
    job, is_new = arrive(chest())
    assert (is_new, job.state, job.task, job.rule, job.origin) == (True, WAITING, "lung_ct", "chest", "dicom")
    assert (job.settings["send_to"], job.settings["instances"]) == (["pacs"], 3)
    assert len(files(job)) == 3


def test_the_sender_counts(arrive):
    assert arrive(chest(), sender="OTHER")[0].task == "retinal_vessel"


def test_no_rule_sets_it_aside_with_the_reason(arrive):
    job, _ = arrive(slices(2, SeriesDescription="Doe^Jane", BodyPartExamined="DOE"))
    assert (job.state, job.reason, job.task) == (SET_ASIDE, "no rule matches this series (modality CT)", "")
    assert len(files(job)) == 2


def test_a_reason_never_quotes_what_is_no_modality(arrive):
    assert arrive(slices(1, Modality="DOE JANE"))[0].reason == "no rule matches this series"


def test_a_series_that_comes_twice_is_one_job(arrive):
    first, _ = arrive(chest())
    assert arrive(chest()) == (first, False)


def test_a_part_that_comes_again_is_no_job(arrive):
    first, _ = arrive(chest())
    assert arrive(chest()[:1]) == (first, False)


@pytest.mark.parametrize("state", [WAITING, RUNNING])
def test_late_slices_lead_to_a_job_of_all_and_the_smaller_one_is_cancelled(arrive, queue, state):
    early, _ = arrive(chest()[:2])
    if state == RUNNING:
        queue.take()
    late, is_new = arrive(chest()[2:])
    assert is_new
    assert len(files(late)) == 3
    assert queue.get(early.id).state == CANCELLED
    assert "superseded" in queue.get(early.id).reason


def test_late_slices_after_the_end_leave_the_earlier_result(arrive, queue):
    early, _ = arrive(chest()[:2])
    queue.take()
    queue.finish(early.id, {})
    late, is_new = arrive(chest()[2:])
    assert (is_new, len(files(late)), queue.get(early.id).state) == (True, 3, "done")


def test_an_object_with_two_kinds_of_pixels_sets_its_series_aside(arrive):
    job, _ = arrive([*chest(), *chest(1, pixels=9)])
    assert (job.state, job.reason) == (SET_ASIDE, TWO_VERSIONS)


def test_other_pixels_that_come_later_are_seen_and_the_right_series_may_come_again(arrive, queue):
    first, _ = arrive(chest())
    queue.take()
    queue.set_aside(first.id, "broken")
    wrong, _ = arrive(chest(1, pixels=9))
    assert wrong.reason == TWO_VERSIONS
    again, is_new = arrive(chest())
    assert (is_new, again.state, len(files(again))) == (True, WAITING, 3)


def test_a_folder_without_readable_files_is_set_aside(config, queue, tmp_path):
    folder = tmp_path / "receiving" / "abc.ready-1"
    folder.mkdir(parents=True)
    (folder / "x.dcm").write_bytes(b"broken by the disk")
    job, _ = admit(folder, config, queue)
    assert queue.get(job).reason == "none of its files can be read as DICOM"
