"""DICOM files are found by what they hold; hostile archives and damaged files do no harm."""

import zipfile
import zlib

import numpy as np
import pytest
from dicom_writer import body_hu, ct_slices, save

from medseg.errors import UnreadableError
from medseg.io.dicom import archive, files, holds_dicom, inspect, is_dicom, read
from medseg.io.dicom.files import opened


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "study", ct_slices())


def zipped(path, folder, name="{}"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(folder.iterdir()):
            target.writestr(name.format(file.name), file.read_bytes())
    return path


def same_as_phantom(volume):
    return np.array_equal(volume.array[0], body_hu().transpose(2, 1, 0))


def test_nested_folder_without_suffixes(tmp_path):
    slices = ct_slices()
    save(tmp_path / "study/a", slices[:3], name="IM{}")
    save(tmp_path / "study/b/c", slices[3:], name="{}.jpg")
    assert same_as_phantom(read(tmp_path / "study", "CT"))


def test_list_of_files(folder):
    volume = read(sorted(folder.iterdir())[::-1], "CT")
    assert same_as_phantom(volume)
    assert str(volume.source) == str(folder)


def test_zip(folder, tmp_path):
    path = zipped(tmp_path / "study.zip", folder, "deep/in it/{}")
    before = sorted(tmp_path.rglob("*"))
    volume = read(path, "CT")
    assert same_as_phantom(volume)
    assert str(volume.source) == str(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_without_preamble_or_transfer_syntax(folder):
    for path in folder.iterdir():
        content = path.read_bytes()
        group_length = int.from_bytes(content[140:144], "little")
        path.write_bytes(content[144 + group_length :])  # the data set alone
    assert same_as_phantom(read(folder, "CT"))


def test_others_are_passed_over_and_counted(folder):
    good = (folder / "001.dcm").read_bytes()
    (folder / "notes.txt").write_text("nothing")
    (folder / "DICOMDIR").write_bytes(good)
    assert read(folder, "CT").warnings == ()
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes(good[:300])
    (folder / "garbage.dcm").write_bytes(good[:132] + b"\xff" * 400)
    with opened(folder) as found:
        assert found.skipped == {"not DICOM": 1, "DICOMDIR": 1, "empty": 1, "damaged": 2}
    volume = read(folder, "CT")
    assert same_as_phantom(volume)
    assert volume.warnings == ("files were skipped: 2 damaged, 1 empty",)


def test_what_is_named_like_the_slices_counts_as_one(folder):
    (folder / "008.dcm").write_bytes(bytes(100))
    assert read(folder, "CT").warnings == ("files were skipped: 1 damaged",)


def test_a_damaged_slice_leaves_a_gap_that_is_named(folder):
    (folder / "004.dcm").write_bytes((folder / "004.dcm").read_bytes()[:300])
    with pytest.raises(Exception, match=r"1 slice is missing between slice 3 .*were skipped: 1 damaged"):
        read(folder, "CT")


def test_encrypted_members_are_passed_over(folder, tmp_path):
    path = zipped(tmp_path / "study.zip", folder)
    content = bytearray(path.read_bytes())
    # The last slice's flags, in the local header and in the directory.
    local = content.rindex(b"PK\3\4")
    content[local + 6] |= 1
    central = content.rindex(b"PK\1\2")
    content[central + 8] |= 1
    path.write_bytes(content)
    volume = read(path, "CT")
    assert volume.array.shape[3] == 7
    assert volume.warnings == ("files were skipped: 1 encrypted",)


def test_damaged_member_is_passed_over(folder, tmp_path):
    path = zipped(tmp_path / "study.zip", folder)
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\3\4") + 60
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    assert "1 damaged" in read(path, "CT").warnings[-1]


@pytest.mark.parametrize("name", ["../{}", "/etc/{}", "a/../../{}", "C:/{}", "..\\{}"])
def test_zip_with_unsafe_names_is_refused(folder, tmp_path, name):
    with pytest.raises(UnreadableError, match=r"stay in their folder"):
        read(zipped(tmp_path / "study.zip", folder, name), "CT")


def test_zip_bomb_is_refused_while_unpacking(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE_BYTES", 10_000)
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        head = (folder / "001.dcm").read_bytes()[:900]
        for number in range(6):
            target.writestr(f"{number}.dcm", head + bytes(3_000_000))
    with pytest.raises(UnreadableError, match=r"at most 100 times its size"):
        read(path, "CT")


def test_deflated_bomb_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FREE_BYTES", 10_000)
    content = (folder / "001.dcm").read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(content[end:] + bytes(20_000_000)) + packer.flush()
    head = content[:end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    length = (int.from_bytes(content[140:144], "little") + 2).to_bytes(4, "little")
    head = (
        head[:140]
        + length
        + head[144:].replace(b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99")
    )
    (folder / "bomb.dcm").write_bytes(head + packed)
    with opened(folder) as found:
        assert found.skipped == {"too large": 1}


def test_damaged_zip_is_refused(folder, tmp_path):
    path = zipped(tmp_path / "study.zip", folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") : content.index(b"PK\1\2") + 4] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"study\.zip"):
        read(path, "CT")


@pytest.mark.parametrize("source", ["nowhere", "empty", "text"])
def test_nothing_to_read(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/notes.dcm").write_text("DICM, not")
    with pytest.raises(UnreadableError, match="DICOM"):
        read(tmp_path / source)


def test_sniffing(folder, tmp_path):
    assert is_dicom(folder / "001.dcm")
    assert holds_dicom(folder.parent)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.dcm").write_bytes(bytes(500))
    assert not is_dicom(tmp_path / "other/a.dcm")
    assert not is_dicom(tmp_path / "missing")
    assert not holds_dicom(tmp_path / "other")


def test_single_slice_file_says_that_more_are_needed(folder):
    with pytest.raises(Exception, match="1: too few slices"):
        read(folder / "001.dcm", "CT")


def test_no_identifier_in_any_text(folder, tmp_path):
    slices = ct_slices()
    del slices[4].PixelSpacing
    broken = save(tmp_path / "broken", slices)
    with pytest.raises(Exception, match="PixelSpacing") as caught:
        read(broken, "CT")
    texts = [str(caught.value), str(inspect(folder)), str(inspect(broken)), str(read(folder).warnings)]
    assert not any("ecret" in text or "SECRET" in text for text in texts)


@pytest.mark.data
def test_real_files_without_transfer_syntax(data_root):
    volume = read(data_root / "lung_ct/lidc_partial/LIDC-IDRI-0001", "CT")
    assert volume.array.shape == (1, 512, 512, 16)
    assert volume.affine[2, 3] == -132.5
    assert volume.warnings == ()


class TestLinks:
    """Studies are often links into a store."""

    @pytest.mark.parametrize("deeper", ["", "deeper"])
    def test_a_study_of_links_is_read(self, folder, tmp_path, deeper):
        study = tmp_path / "linked" / deeper
        study.mkdir(parents=True)
        (study / "series").symlink_to(folder)
        assert holds_dicom(tmp_path / "linked")
        np.testing.assert_array_equal(read(tmp_path / "linked", "CT").array, read(folder, "CT").array)

    def test_loops_end_and_nothing_is_read_twice_or_from_around_the_study(self, folder, tmp_path):
        save(tmp_path / "other", ct_slices(series=2))
        for name, target in (("a", folder), ("b", folder), ("up", folder.parent), ("top", tmp_path)):
            (folder / name).symlink_to(target)
        (folder / "broken").symlink_to(tmp_path / "nothing")
        with opened(folder) as found:
            assert len(found.files) == 8
        assert read(folder, "CT").warnings == ()
