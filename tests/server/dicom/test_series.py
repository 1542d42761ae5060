"""Series that are being received: on disk before they are confirmed, complete after a pause or a count."""

import pytest
from dicom_sender import slices

from medseg.errors import UnreadableError
from medseg.io.dicom.instance import read_instance
from medseg.server.dicom.series import SENDER, Incoming, TooManyError, has_two_versions


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def incoming(tmp_path, clock):
    return Incoming(tmp_path, quiet_s=5, most=10, clock=clock)


def put(incoming, data_set):
    path = incoming.temporary / "object.dcm"
    data_set.save_as(path, enforce_file_format=True)
    return incoming.put(path, read_instance(path), "PACS")


def names(folder):
    return {path.name for path in folder.iterdir()} - {SENDER}


def test_a_series_is_complete_after_a_pause(incoming, clock):
    for data_set in slices(2):
        assert put(incoming, data_set)
        clock.now += 4
        assert incoming.complete() == []
    assert incoming.next_s() == 1
    clock.now += 1
    (folder,) = incoming.complete()
    assert len(names(folder)) == 2
    assert (folder / SENDER).read_text() == "PACS"
    assert incoming.complete() == [folder]  # until someone has taken it away
    assert incoming.next_s() == float("inf")


def test_the_wall_clock_does_not_matter(incoming, monkeypatch):
    put(incoming, slices(1)[0])
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert incoming.complete() == []


def test_interleaved_series_come_apart(incoming, clock):
    for one, other, study in zip(slices(3), slices(3, series="2"), slices(3, study="1.2.4"), strict=True):
        for data_set in (one, other, study):
            put(incoming, data_set)
    clock.now += 5
    assert [len(names(folder)) for folder in incoming.complete()] == [3, 3, 3]


def test_a_told_count_of_the_series_ends_the_wait(incoming):
    first, second = slices(2, NumberOfSeriesRelatedInstances="2")
    put(incoming, first)
    put(incoming, first)
    assert incoming.complete() == []
    put(incoming, second)
    assert len(incoming.complete()) == 1


def test_a_told_count_of_the_study_ends_the_wait_of_all_its_series(incoming):
    told = {"NumberOfStudyRelatedInstances": "3"}
    for data_set in slices(2, **told):
        put(incoming, data_set)
    assert incoming.complete() == []
    put(incoming, slices(1, series="2", **told)[0])
    assert len(incoming.complete()) == 2


def test_the_same_object_is_one_file(incoming, clock):
    (data_set,) = slices(1)
    assert put(incoming, data_set)
    assert not put(incoming, data_set)
    clock.now += 5
    (folder,) = incoming.complete()
    assert not has_two_versions(names(folder))


def test_the_same_uid_with_other_pixels_is_seen(incoming, clock):
    put(incoming, slices(1)[0])
    assert put(incoming, slices(1, pixels=7)[0])
    clock.now += 5
    (folder,) = incoming.complete()
    assert has_two_versions(names(folder))


def test_what_an_earlier_process_received_is_found(incoming, clock, tmp_path):
    put(incoming, slices(1)[0])
    clock.now += 5
    (ready,) = incoming.complete()
    put(incoming, slices(1, series="2")[0])
    (incoming.temporary / "half").write_bytes(b"half an object")
    again = Incoming(tmp_path, quiet_s=5, most=10, clock=clock)
    assert list(again.temporary.iterdir()) == []
    assert again.complete() == [ready]
    assert again.size() == incoming.size() > 0
    clock.now += 5
    assert len(again.complete()) == 2


def test_too_many_instances_are_refused(incoming):
    *good, last = slices(11)
    for data_set in good:
        put(incoming, data_set)
    with pytest.raises(TooManyError, match="at most 10 instances"):
        put(incoming, last)


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3\\4", "", "Doe^Jane", "1" * 65])
def test_no_uid_becomes_a_path(incoming, uid):
    (data_set,) = slices(1)
    data_set.SeriesInstanceUID = uid
    with pytest.raises(UnreadableError, match="UIDs"):
        put(incoming, data_set)


def test_half_sent_objects_are_swept(incoming, monkeypatch):
    (incoming.temporary / "half").write_bytes(b"half an object")
    assert incoming.sweep(older_s=3600) == 0
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert incoming.sweep(older_s=3600) == 1
