"""Films in every form: the same frames, and what is no film."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from ultrasound_writer import write_ultrasound

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io.film import is_film, read_film


@pytest.fixture(scope="module")
def frames():
    """Twelve frames of 24 x 32 px."""
    return np.random.default_rng(0).integers(0, 256, (12, 24, 32), dtype=np.uint8)


def write_folder(frames, folder):
    folder.mkdir()
    for number, frame in enumerate(frames, 1):  # frame 10 comes after frame 9, not after frame 1
        Image.fromarray(frame).save(folder / f"frame {number}.png")
    return folder


def write_tiff(frames, path):
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


def write_gif(frames, path):
    pages = [Image.fromarray(frame) for frame in frames]
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=40)
    return path


def test_a_folder_of_pictures_in_the_order_of_their_numbers(frames, tmp_path):
    folder = write_folder(frames, tmp_path / "film")
    (folder / "notes.txt").write_text("no frame")
    film = read_film(folder)
    assert np.array_equal(film.frames, frames)
    assert (film.pixel_spacing_mm, film.frame_ms) == (None, None)


def test_pages_of_a_tiff_and_of_a_gif(frames, tmp_path):
    assert np.array_equal(read_film(write_tiff(frames, tmp_path / "film.tif")).frames, frames)
    assert np.array_equal(read_film(write_gif(frames, tmp_path / "film.gif")).frames, frames)


def test_pages_of_16_bits(frames, tmp_path):
    deep = frames.astype(np.uint16) * 200
    assert np.array_equal(read_film(write_tiff(deep, tmp_path / "film.tif")).frames, deep)


def test_colours_become_grey(frames, tmp_path):
    colours = np.repeat(frames[..., None], 3, axis=-1)
    tifffile.imwrite(tmp_path / "film.tif", colours, photometric="rgb")
    assert np.array_equal(read_film(tmp_path / "film.tif").frames, frames)


def test_ultrasound_dicom(frames, tmp_path):
    tags = {"FrameTime": "40"}
    path = write_ultrasound(frames[0], tmp_path / "clip.dcm", frames=3, spacing_mm=(0.2, 0.1), tags=tags)
    for source in (path, tmp_path):
        film = read_film(source)
        assert np.array_equal(film.frames, [frames[0] // n for n in (1, 2, 3)])
        assert film.pixel_spacing_mm == pytest.approx((0.2, 0.1))
        assert film.frame_ms == 40


def test_dark_is_dark_in_inverted_dicom(frames, tmp_path):
    path = write_ultrasound(
        frames[0], tmp_path / "clip.dcm", frames=2, photometric="MONOCHROME1", tags={"CineRate": "20"}
    )
    film = read_film(path)
    assert np.array_equal(film.frames[0], frames[0])
    assert film.frame_ms == 50


def test_a_still_is_no_film(frames, tmp_path):
    Image.fromarray(frames[0]).save(tmp_path / "still.png")
    still = write_ultrasound(frames[0], tmp_path / "still.dcm")
    for path in (tmp_path / "still.png", still):
        with pytest.raises(UnsuitableError, match="the still picture still"):
            read_film(path)


def test_a_folder_with_one_picture_is_no_film(frames, tmp_path):
    with pytest.raises(UnsuitableError, match="two frames"):
        read_film(write_folder(frames[:1], tmp_path / "film"))


def test_frames_of_two_sizes(frames, tmp_path):
    folder = write_folder(frames[:2], tmp_path / "film")
    Image.fromarray(frames[0, :10]).save(folder / "frame 3.png")
    with pytest.raises(
        UnsuitableError, match=r"10 x 32 uint8 in frame 3 and 24 x 32 uint8 before it in film"
    ):
        read_film(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("film.mp4", b"\0\0\0 ftypisom", "ffmpeg"),
        ("film.gif", b"no picture", "no known format"),
        ("film.tif", b"", "empty"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=message):
        read_film(tmp_path / name)


def test_a_truncated_film(frames, tmp_path):
    path = write_tiff(frames, tmp_path / "film.tif")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UnreadableError, match="can't be decoded"):
        read_film(path)


def test_nothing_there(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        read_film(tmp_path / "none.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match="none in empty"):
        read_film(tmp_path / "empty")


def test_what_is_read_as_a_film(frames, tmp_path):
    clip = write_ultrasound(frames[0], tmp_path / "clip.dcm", frames=2)
    folder = write_folder(frames[:2], tmp_path / "film")
    assert [is_film(path) for path in (clip, folder, tmp_path / "a.gif", tmp_path / "a.nii.gz")] == [
        True,
        True,
        True,
        False,
    ]
