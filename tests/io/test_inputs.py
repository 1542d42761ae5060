"""Which images a user has named, and what each is called."""

import zipfile

import pytest
from refused_input import refused

from medseg.errors import UnreadableError
from medseg.io import case_name, case_names, find_inputs, search_inputs


class TestFindInputs:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.PNG", "a.jpg", "c.nii.gz", "d.tiff", ".hidden.png", "notes.txt", "scan[1].png"):
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "deeper").mkdir()
        (tmp_path / "deeper" / "e.png").write_bytes(b"x")
        (tmp_path / "folder.png").mkdir()
        return tmp_path

    def _names(self, *sources):
        return [path.name for path in find_inputs(sources)]

    def test_folder_gives_its_own_images_in_order(self, folder):
        assert self._names(folder) == ["a.jpg", "b.PNG", "c.nii.gz", "d.tiff", "scan[1].png"]
        assert self._names(str(folder / "deeper")) == ["e.png"]

    def test_pattern_gives_images_alone(self, folder):
        assert self._names(f"{folder}/*") == ["a.jpg", "b.PNG", "c.nii.gz", "d.tiff", "scan[1].png"]
        assert self._names(f"{folder}/?.[jt]*") == ["a.jpg", "d.tiff"]
        assert self._names(f"{folder}/**/*.png") == ["e.png", "scan[1].png"]

    def test_a_named_file_is_kept_whatever_it_is(self, folder):
        sources = [folder / "notes.txt", folder / ".hidden.png", f"{folder}/scan[1].png", folder / "gone.png"]
        assert find_inputs(sources) == [folder / source for source in sources]

    def test_each_file_comes_once_and_in_the_order_asked_for(self, folder):
        names = self._names(folder / "d.tiff", folder, str(folder / "a.jpg"), f"{folder}/a.*")
        assert names == ["d.tiff", "a.jpg", "b.PNG", "c.nii.gz", "scan[1].png"]

    def test_nothing_found_is_an_error(self, folder):
        (folder / "empty").mkdir()
        (folder / "empty" / "notes.txt").write_text("x")
        for source in (folder / "empty", f"{folder}/*.dcm", f"{folder}/gone*/*.png"):
            refused([source], find_inputs, match="none in")
        refused([], find_inputs, match="got nothing")

    def test_a_source_without_images_stops_nothing(self, folder, caplog):
        (folder / "empty").mkdir()
        found = search_inputs([f"{folder}/gone*.png", folder / "a.jpg", folder / "empty"])
        assert found.inputs == [folder / "a.jpg"]
        assert found.empty == [f"{folder}/gone*.png", str(folder / "empty")]
        for source in found.empty:
            assert f"none in {source}" in caplog.text

    def test_what_is_passed_over_is_counted(self, folder, caplog):
        find_inputs([folder])
        find_inputs([f"{folder}/*"])
        assert [record.message for record in caplog.records] == [
            f"{source}: skipped, because they are no images: 1 .txt, 2 folder"
            for source in (folder, f"{folder}/*")
        ]

    def test_nothing_passed_over_is_no_line(self, tmp_path, caplog):
        for name in ("a.jfif", "b.JPE", "c.MHD", "c.raw", ".DS_Store", "d.NRRD"):
            (tmp_path / name).write_bytes(b"x")
        assert self._names(tmp_path) == ["a.jfif", "b.JPE", "c.MHD", "d.NRRD"]
        assert caplog.text == ""

    def test_archives_of_dicom(self, tmp_path, caplog):
        for name, member, content in (
            ("a.zip", "1", bytes(128) + b"DICM"),
            ("b.ZIP", "1.dcm", b"x"),
            ("c.zip", "a.jpg", b"x"),
        ):
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr(member, content)
        (tmp_path / "d.zip").write_bytes(b"damaged")
        (tmp_path / "e.nii").write_bytes(b"x")
        assert self._names(f"{tmp_path}/*.zip") == ["a.zip", "d.zip"]
        for source in (tmp_path, f"{tmp_path}/*"):
            assert self._names(source) == ["a.zip", "b.ZIP", "d.zip", "e.nii"]
            assert f"{source}: skipped, because they are no images: 1 .zip" in caplog.text

    def test_a_folder_that_may_not_be_opened_is_kept(self, folder, monkeypatch):
        def closed(path):
            raise UnreadableError("folders that can be read", got="one that can't", advice="Ask for it.")

        monkeypatch.setattr("medseg.io.dicom.pictures_in", closed)
        assert find_inputs([folder / "deeper", folder / "a.jpg"]) == [folder / "deeper", folder / "a.jpg"]

    def test_a_name_that_is_too_long_is_kept(self, folder):
        assert find_inputs([folder / ("a" * 300)]) == [folder / ("a" * 300)]

    def test_a_pattern_matches_studies(self, tmp_path, caplog):
        for name in ("a", "b", "pictures"):
            (tmp_path / name / "series").mkdir(parents=True)
        for path in ("a/series/1", "b/2", "DICOMDIR"):
            (tmp_path / path).write_bytes(bytes(128) + b"DICM" + bytes(10))
        (tmp_path / "pictures" / "a.png").write_bytes(b"x")
        (tmp_path / "c.nii.gz").write_bytes(b"x")
        assert self._names(f"{tmp_path}/*") == ["a", "b", "c.nii.gz"]
        assert "skipped, because they are no images: 1 file without an ending, 1 folder" in caplog.text
        caplog.clear()
        assert find_inputs([tmp_path]) == [tmp_path]
        assert "read as a DICOM study; 1 other image files were skipped" in caplog.text


class TestCaseNames:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("/a/b/scan.png", "scan"),
            ("scan.nii.gz", "scan"),
            ("scan.NII.GZ", "scan"),
            ("scan.nii", "scan"),
            ("scan.v2.left.JPEG", "scan.v2.left"),
            ("1.2.840.113.dcm", "1.2.840.113"),
            ("scan", "scan"),
            (".png", ".png"),
            (".nii.gz", ".nii"),
        ],
    )
    def test_case_name(self, path, name):
        assert case_name(path) == name

    def test_names_differ_whatever_their_case(self):
        paths = ["a/scan.png", "b/scan.nii.gz", "SCAN.tif", "scan-2.png", "x/Straße.png", "y/STRASSE.png"]
        names = case_names(paths)
        assert list(names) == paths
        assert list(names.values()) == ["scan", "scan-2", "SCAN-3", "scan-2-2", "Straße", "STRASSE-2"]
