"""A file is whole or absent."""

import stat
import sys

import pytest

from medseg.io.atomic import atomic_path


class TestAtomic:
    def test_replaces_the_file_and_keeps_the_suffix(self, tmp_path):
        path = tmp_path / "mask.nii.gz"
        path.write_text("old")
        with atomic_path(path) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.name.endswith(".nii.gz")
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_an_error_leaves_everything_as_it_was(self, tmp_path, error):
        path = tmp_path / "report.html"
        path.write_text("old")
        with pytest.raises(error), atomic_path(path) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise error
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(sys.platform == "win32", reason="no umask")
    def test_mode_follows_the_umask(self, tmp_path):
        (tmp_path / "plain").write_text("")
        with atomic_path(tmp_path / "atomic") as temporary:
            temporary.write_text("")
        modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
        assert len(modes) == 1
