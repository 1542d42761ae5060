"""Results to archives: what is away is tried again, what says no is given up, nothing is sent twice."""

import pytest
from dicom_sender import slices

from medseg.archive.address import Archive
from medseg.errors import ArchiveAwayError, ArchiveRefusedError
from medseg.server.deliver import deliver_due
from medseg.server.queue import DELIVERING, DONE, SET_ASIDE, Queue

ARCHIVES = {"pacs": Archive("dimse"), "web": Archive("dicomweb")}


def away(paths, to):
    raise ArchiveAwayError("an archive", got="none", advice="Wait.")


def refuses(paths, to):
    raise ArchiveRefusedError("an archive that takes it", got="no", advice="Ask.")


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "queue.sqlite")
    yield made
    made.close()


@pytest.fixture
def job(queue, tmp_path):
    (tmp_path / "new").mkdir()
    job, _ = queue.add(tmp_path / "new", origin="dicom", identity="a", settings={"send_to": ["pacs", "web"]})
    queue.take()
    queue.finish(job, {"verdict": "pass"}, deliver=True)
    folder = queue.get(job).folder / "out" / "case"
    folder.mkdir(parents=True)
    slices(1)[0].save_as(folder / "segmentation.dcm", enforce_file_format=True)
    (folder / "report.html").write_text("no DICOM")
    return job


def test_all_archives_get_the_dicom_files(queue, job):
    sent = []
    deliver_due(queue, ARCHIVES, lambda paths, to: sent.append(([path.name for path in paths], to.kind)))
    assert sent == [(["segmentation.dcm"], "dimse"), (["segmentation.dcm"], "dicomweb")]
    assert (queue.get(job).state, queue.get(job).delivered) == (DONE, ("pacs", "web"))


def test_an_archive_that_is_away_is_tried_again_and_the_other_gets_it_once(queue, job, caplog):
    sent = []

    def send(paths, to):
        if to.kind == "dimse":
            away(paths, to)
        sent.append(to.kind)

    caplog.set_level("INFO", "medseg.server")
    pauses = []
    for _ in range(3):
        deliver_due(queue, ARCHIVES, send)
        found = queue.get(job)
        assert (found.state, found.delivered) == (DELIVERING, ("web",))
        pauses.append(found.next_try - queue.now())
        assert deliver_due(queue, ARCHIVES, send) == 0
        queue._change(job, (DELIVERING,), next_try=0.0)
    assert sent == ["dicomweb"]
    assert pauses == pytest.approx([5, 10, 20], abs=1)
    assert "pacs: expected an archive" in queue.get(job).reason
    assert caplog.text.count("delivery retried: pacs: expected an archive") == 3
    deliver_due(queue, ARCHIVES, lambda paths, to: sent.append(to.kind))
    assert sent == ["dicomweb", "dimse"]
    assert (queue.get(job).state, queue.get(job).reason) == (DONE, "")


def test_an_archive_that_says_no_sets_it_aside_after_the_others(queue, job):
    def send(paths, to):
        if to.kind == "dimse":
            refuses(paths, to)

    deliver_due(queue, ARCHIVES, send)
    found = queue.get(job)
    assert (found.state, found.delivered) == (SET_ASIDE, ("web",))
    assert "pacs: expected an archive that takes it; got no" in found.reason


def test_an_archive_that_left_the_configuration_is_told(queue, job):
    deliver_due(queue, {"web": ARCHIVES["web"]}, lambda paths, to: None)
    assert "expected an archive of node.yaml; got pacs" in queue.get(job).reason


def test_a_result_without_dicom_is_told(queue, job):
    (queue.get(job).folder / "out" / "case" / "segmentation.dcm").unlink()
    deliver_due(queue, ARCHIVES, lambda paths, to: None)
    assert queue.get(job).reason == "its result has no DICOM file to send (quality verdict: pass)"
