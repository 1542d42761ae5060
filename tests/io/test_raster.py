"""What is read is what the file holds, upright; what can't be read so is refused, in three parts."""

import gzip
import sys
import zlib

import nibabel as nib
import numpy as np
import pytest
import tifffile
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from PIL import Image, ImageOps
from refused_input import refused

from medseg.errors import LabelError, MedsegError, UnreadableError
from medseg.io import read_mask, read_volume, write_mask
from medseg.volume import Mask

LABELS = {0: "background", 1: "vessel"}


ROWS, COLUMNS = 24, 36


ORIENTATION = 274


@pytest.fixture
def colours():
    """(row, column, 3) uint8: smooth, and different under every turn and every swap of channels."""
    row, column = np.indices((ROWS, COLUMNS))
    picture = np.stack([60 + 5 * row, 40 + 4 * column, 10 + row + column], axis=-1)
    picture[:8, :12] = (250, 20, 90)
    return picture.astype(np.uint8)


@pytest.fixture
def binary():
    return np.random.default_rng(3).integers(0, 2, (ROWS, COLUMNS), dtype=np.uint8)


def _save(path, pixels, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def _png16(path, pixels, colour_type):
    """A PNG of 16 bits a channel, which Pillow can't write in colour."""
    rows, columns = pixels.shape[:2]

    def chunk(kind, content):
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + bytes([16, colour_type, 0, 0, 0])
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    return path


def _pixels(path):
    """(row, column, channel) as read_volume reads it."""
    return np.moveaxis(read_volume(path).array, 0, -1)


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("a.png", {}),
            ("a.PNG", {}),
            ("a.tif", {}),
            ("a.tiff", {"compression": "tiff_lzw"}),
            ("a.tif", {"compression": "tiff_deflate"}),
            ("a.bmp", {}),
            ("a.ppm", {}),
        ],
    )
    def test_8_bit_colours_come_as_they_are(self, tmp_path, colours, name, options):
        volume = read_volume(_save(tmp_path / name, colours, **options))
        assert (volume.array.dtype, volume.affine, volume.warnings) == (np.uint8, None, ())
        assert volume.source == str(tmp_path / name)
        assert volume.array.flags.writeable
        np.testing.assert_array_equal(volume.array, colours.transpose(2, 0, 1))

    def test_jpeg_in_rgb_grey_and_cmyk(self, tmp_path, colours):
        smooth = colours[8:, 12:]
        for mode, expected in (("RGB", smooth), ("CMYK", smooth), ("L", smooth[..., :1])):
            source = smooth[..., 0] if mode == "L" else smooth
            path = _save(tmp_path / "a.jpg", Image.fromarray(source).convert(mode), quality=98, subsampling=0)
            assert np.abs(_pixels(path).astype(int) - expected).max() <= 12
            assert read_volume(path).warnings == ()

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    @pytest.mark.parametrize(
        "options", [{}, {"compression": "deflate", "predictor": True}, {"bigtiff": True}, {"tile": (16, 16)}]
    )
    def test_16_bit_tiff_keeps_all_bits(self, tmp_path, colours, byteorder, options):
        deep = colours.astype(np.uint16) * 256 + 7
        tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", byteorder=byteorder, **options)
        volume = read_volume(tmp_path / "a.tif")
        assert volume.array.dtype == np.uint16
        assert volume.array.dtype.isnative
        np.testing.assert_array_equal(volume.array, deep.transpose(2, 0, 1))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_planar_tiff(self, tmp_path, colours, dtype):
        planes = colours.transpose(2, 0, 1).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array, planes)

    def test_16_bit_grey_keeps_all_bits(self, tmp_path, colours):
        deep = colours[..., 0].astype(np.uint16) * 256 + 7
        tifffile.imwrite(tmp_path / "a.tif", deep)
        for path in (tmp_path / "a.tif", _save(tmp_path / "a.png", deep)):
            array = read_volume(path).array
            assert array.dtype == np.uint16
            np.testing.assert_array_equal(array, deep[None])

    @pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
    def test_16_bit_colour_png_says_that_bits_were_lost(self, tmp_path, colours, colour_type, channels):
        deep = np.concatenate([colours, colours[..., :1]], axis=-1)[..., :channels].astype(np.uint16) * 257
        volume = read_volume(_png16(tmp_path / "a.png", deep, colour_type))
        assert volume.warnings[0] == "a 16-bit colour PNG was read at 8 bits a channel"
        kept = np.repeat(colours[..., :1], 3, axis=-1) if colour_type == 4 else colours
        np.testing.assert_array_equal(volume.array, kept.transpose(2, 0, 1))

    def test_palette_becomes_colours(self, tmp_path):
        index = np.arange(6, dtype=np.uint8).reshape(2, 3)
        image = Image.fromarray(index)
        image.putpalette([*(255, 0, 0), *(0, 255, 0), *(0, 0, 255), *(9, 8, 7), *(1, 2, 3), *(4, 5, 6)])
        for name in ("a.png", "a.gif", "a.tif"):
            pixels = _pixels(_save(tmp_path / name, image))
            assert pixels[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
            assert pixels[1, 0].tolist() == [9, 8, 7]

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_one_bit_becomes_black_and_white(self, tmp_path, binary, suffix):
        path = _save(tmp_path / f"a{suffix}", Image.fromarray(binary.astype(bool)))
        np.testing.assert_array_equal(read_volume(path).array, binary[None] * 255)

    @pytest.mark.parametrize("channels", [2, 4])
    def test_alpha_is_dropped_and_said_so(self, tmp_path, colours, channels):
        source = np.concatenate([colours, colours[..., :1]], axis=-1)[..., :channels]
        tifffile.imwrite(
            tmp_path / "deep.tif",
            source.astype(np.uint16),
            photometric="minisblack" if channels == 2 else "rgb",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        )
        for path in (_save(tmp_path / "a.png", source), tmp_path / "deep.tif"):
            assert read_volume(path).warnings == ("the picture's alpha channel was ignored",)
            np.testing.assert_array_equal(_pixels(path), source[..., :-1])

    @pytest.mark.parametrize("turn", range(1, 9))
    @pytest.mark.parametrize("kind", ["a.jpg", "a.png", "grey.tif", "colour.tif", "lzw.tif", "deep.tif"])
    def test_exif_rotation_gives_the_upright_picture(self, tmp_path, colours, kind, turn):
        source = colours[..., 0] if kind == "grey.tif" else colours
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        path, factor = tmp_path / kind, 1
        if kind == "deep.tif":
            factor = 257
            tag = (ORIENTATION, "H", 1, turn, True)
            tifffile.imwrite(path, source.astype(np.uint16) * 257, photometric="rgb", extratags=[tag])
        else:
            options = {"quality": 98, "subsampling": 0} if kind == "a.jpg" else {}
            options |= {"compression": "tiff_lzw"} if kind == "lzw.tif" else {}
            _save(path, source, exif=exif, **options)
        plain = Image.fromarray(source)
        plain.getexif()[ORIENTATION] = turn
        upright = np.asarray(ImageOps.exif_transpose(plain)).reshape(*_turned_shape(turn), -1)
        found = _pixels(path)
        assert found.shape == upright.shape
        assert np.abs(found.astype(int) - upright.astype(int) * factor).max() <= (
            40 if kind == "a.jpg" else 0
        )
        said = ("the picture's EXIF rotation was applied; the mask lies on the upright picture",)
        assert read_volume(path).warnings == (said if turn > 1 else ())

    def test_a_phone_photograph_with_previews_is_its_first_picture(self, tmp_path, colours):
        pages = [Image.fromarray(colours), Image.fromarray(255 - colours)]
        pages[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pages[1:], quality=100)
        assert (
            np.abs(read_volume(tmp_path / "a.jpg").array.astype(int) - colours.transpose(2, 0, 1)).mean() < 20
        )

    def test_several_pages_are_refused(self, tmp_path, colours):
        pages = [Image.fromarray(colours), Image.fromarray(255 - colours)]
        for name in ("a.tif", "a.gif", "a.png", "a.webp"):
            pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
            refused(tmp_path / name, match="with 2 pages")
        tifffile.imwrite(tmp_path / "deep.tif", np.stack([colours] * 3).astype(np.uint16), photometric="rgb")
        refused(tmp_path / "deep.tif", match="with 3 pages")

    @pytest.mark.parametrize(
        ("dtype", "channels", "options"),
        [
            (np.uint16, 4, {"photometric": "separated"}),  # not RGB with alpha
            (np.uint16, 1, {"photometric": "miniswhite"}),
            (np.complex64, 1, {}),
        ],
    )
    def test_tiff_colours_that_would_be_misread_are_refused(
        self, tmp_path, colours, dtype, channels, options
    ):
        pixels = np.concatenate([colours, colours[..., :1]], axis=-1)[..., :channels].astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", pixels.squeeze(), **options)
        refused(tmp_path / "a.tif", match="neither grey values .* nor RGB")

    def test_compressed_16_bit(self, tmp_path, colours):
        deep = colours[..., 0].astype(np.uint16) * 257
        path = _save(tmp_path / "a.tif", deep, compression="tiff_lzw")
        assert np.array_equal(read_volume(path).array[0], deep)


def _turned_shape(turn):
    return (COLUMNS, ROWS) if turn >= 5 else (ROWS, COLUMNS)


def _examples(folder):
    """A sound file of each format: name to content."""
    row, column = np.indices((30, 40))
    picture = np.stack([row * 5, column * 4, row + column], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    _save(folder / "a.png", picture)
    _save(folder / "deep.png", picture[..., 0].astype(np.uint16) * 257)
    _save(folder / "a.jpg", picture, exif=exif)
    _save(folder / "a.tif", picture, exif=exif)
    _save(folder / "lzw.tif", picture, compression="tiff_lzw")
    tifffile.imwrite(folder / "deep.tif", picture.astype(np.uint16) * 257, photometric="rgb")
    tifffile.imwrite(
        folder / "tiles.tif",
        picture.astype(np.uint16),
        photometric="rgb",
        compression="deflate",
        tile=(16, 16),
    )
    _save(folder / "a.gif", Image.fromarray(picture).quantize(16))
    volume = nib.Nifti1Image(np.arange(720, dtype=np.int16).reshape(8, 9, 10), np.diag([1, 2, 3, 1]))
    nib.save(volume, folder / "a.nii")
    nib.save(volume, folder / "a.nii.gz")
    nib.save(nib.Nifti2Image(volume.get_fdata(), volume.affine), folder / "two.nii")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


EXAMPLES = (
    "a.png",
    "deep.png",
    "a.jpg",
    "a.tif",
    "lzw.tif",
    "deep.tif",
    "tiles.tif",
    "a.gif",
    "a.nii",
    "a.nii.gz",
    "two.nii",
)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return _examples(tmp_path_factory.mktemp("examples"))


@pytest.mark.filterwarnings("ignore")  # Pillow and numpy remark on damage that they then refuse
class TestDamaged:
    @pytest.mark.parametrize("reader", [read_volume, lambda path: read_mask(path, LABELS)])
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".nii", ".nii.gz", ".txt"])
    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"name;age\nErika;44\n" * 20, b"II*\0\xff\xff\xff\xff", b"MM\0*" + b"\1" * 400],
    )
    def test_what_is_no_picture(self, tmp_path, content, suffix, reader):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        refused(path, reader, match=r"0 bytes" if not content else r"can't be|no known")

    @pytest.mark.parametrize("reader", [read_volume, lambda path: read_mask(path, LABELS)])
    def test_what_is_no_file(self, tmp_path, reader):
        (tmp_path / "folder.png").mkdir()
        refused(tmp_path / "folder.png", reader, match=r"folder\.png")
        refused(tmp_path / "gone.png", reader, match="does not exist")
        refused(tmp_path / ("long" * 100 + ".png"), reader, match="does not exist")

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_cut_short(self, tmp_path, examples, name):
        whole, path = examples[name], tmp_path / name
        path.write_bytes(whole)
        expected = read_volume(path).array
        for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
            path.write_bytes(whole[: max(1, int(share * len(whole)))])
            refused(path)
        for lost in range(1, 40):  # no pixel is in a trailer, but then all of them must be right
            path.write_bytes(whole[:-lost])
            try:
                found = read_volume(path).array
            except UnreadableError:
                continue
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.seconds
    @pytest.mark.parametrize("name", EXAMPLES)
    def test_random_damage_raises_nothing_but_medseg_errors(self, tmp_path, examples, name):
        random, path, refused = np.random.default_rng(5), tmp_path / name, 0
        for round_ in range(100):
            content = bytearray(examples[name])
            if round_ % 3 == 2:
                place = int(random.integers(len(content)))
                del content[place : place + int(random.integers(1, 50))]
            else:  # a few bytes of the head, or more of them anywhere
                reach, most = (200, 6) if round_ % 3 else (len(content), 40)
                for place in random.integers(0, min(reach, len(content)), random.integers(1, most)):
                    content[place] = random.integers(256)
            path.write_bytes(content)
            for reader in (read_volume, lambda path: read_mask(path, LABELS)):
                try:
                    reader(path)
                except MedsegError:
                    refused += 1
        assert refused > 90, "the damage is too slight to test anything"

    @pytest.mark.parametrize("name", ["a.png", "deep.png", "a.nii.gz"])
    def test_a_checksum_that_fails_is_heeded(self, tmp_path, examples, name):
        """A stored block of zlib decodes whatever its bytes are; only the checksum knows better."""
        if name.endswith(".gz"):
            raw = gzip.compress(gzip.decompress(examples[name]), compresslevel=0)
        else:
            (tmp_path / "whole.png").write_bytes(examples[name])
            raw = _save(tmp_path / name, Image.open(tmp_path / "whole.png"), compress_level=0).read_bytes()
        content = bytearray(raw)
        content[len(content) // 2] ^= 0xFF
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)


class TestReadMask:
    @pytest.mark.parametrize("factor", [1, 255])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_0_1_and_0_255_are_the_same_label(self, tmp_path, binary, factor, dtype):
        mask = read_mask(_save(tmp_path / "a.png", binary.astype(dtype) * factor), LABELS)
        assert (mask.array.dtype, mask.labels, mask.affine) == (np.uint8, LABELS, None)
        np.testing.assert_array_equal(mask.array, binary)

    @pytest.mark.parametrize("value", [0, 255, 1])
    def test_one_value_alone(self, tmp_path, value):
        mask = read_mask(_save(tmp_path / "a.png", np.full((4, 5), value, np.uint8)), LABELS)
        assert np.unique(mask.array).tolist() == [int(value > 0)]

    def test_255_is_a_label_like_another_where_there_are_more(self, tmp_path, binary):
        path = _save(tmp_path / "a.png", binary * 255)
        with pytest.raises(LabelError, match=r"with \[255\]"):
            read_mask(path, {0: "background", 1: "artery", 2: "vein"})
        assert read_mask(path, {0: "background", 255: "vessel"}).array.max() == 255

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ([0, 1, 2, 9], r"\[2, 9\]\."),
            ([0, 255, 128], r"\[128, 255\]\."),
            (list(range(50)), r"\[2, 3, 4, 5, 6\] and more\."),
        ],
    )
    def test_unknown_values_are_named(self, tmp_path, values, named):
        path = _save(tmp_path / "a.png", np.array([values], np.uint8))
        with pytest.raises(LabelError, match=named) as caught:
            read_mask(path, LABELS)
        assert caught.value.expected == "label values [0, 1]"

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_equal_channels_are_one_and_colours_are_none(self, tmp_path, binary, colours, dtype):
        grey = np.repeat(binary[..., None], 3, axis=-1).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", grey, photometric="rgb")
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", LABELS).array, binary)
        tifffile.imwrite(tmp_path / "a.tif", colours.astype(dtype), photometric="rgb")
        with pytest.raises(LabelError, match="3 different channels"):
            read_mask(tmp_path / "a.tif", LABELS)

    def test_16_bit_colour_png_is_refused(self, tmp_path, binary):
        """Pillow would read the labels 0 and 1 as 0 and 0."""
        path = _png16(tmp_path / "a.png", np.repeat(binary[..., None], 3, axis=-1), 2)
        with pytest.raises(LabelError, match="one channel"):
            read_mask(path, LABELS)

    def test_palette_index_is_the_label(self, tmp_path, binary):
        image = Image.fromarray(binary)
        image.putpalette([255, 0, 0, 0, 0, 255])
        for name in ("a.png", "a.gif", "a.tif"):
            np.testing.assert_array_equal(read_mask(_save(tmp_path / name, image), LABELS).array, binary)
        one_bit = _save(tmp_path / "bit.png", Image.fromarray(binary.astype(bool)))
        np.testing.assert_array_equal(read_mask(one_bit, LABELS).array, binary)

    @pytest.mark.parametrize("odd", [0.5, np.nan])
    def test_a_probability_is_no_label(self, tmp_path, binary, odd):
        values = binary.astype(np.float32)
        tifffile.imwrite(tmp_path / "a.tif", values)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", LABELS).array, binary)
        values[3, 4] = odd
        tifffile.imwrite(tmp_path / "a.tif", values)
        nib.save(nib.Nifti1Image(values[..., None], np.eye(4)), tmp_path / "a.nii")
        for path in (tmp_path / "a.tif", tmp_path / "a.nii"):
            with pytest.raises(LabelError, match=rf"\[{odd}\]"):
                read_mask(path, LABELS)

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif"])
    @pytest.mark.parametrize("turn", [3, 6])
    def test_a_label_is_turned_as_its_image_is(self, tmp_path, binary, name, turn):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        path = _save(tmp_path / name, binary, exif=exif, **options)
        expected = np.rot90(binary, 2 if turn == 3 else -1)
        np.testing.assert_array_equal(read_mask(path, LABELS).array, expected)


def _oblique():
    return from_matvec(euler2mat(0.3, -0.2, 0.5) @ np.diag([0.8, 0.9, 2.5]), [-100.5, 22.25, 7.125])


AFFINES = {
    "plain": np.diag([0.7, 0.8, 2.0, 1.0]),
    "flipped": from_matvec(np.diag([-0.7, 0.8, -2.0]), [90, -70, 30]),
    "permuted": np.array([[0, 0, 2.5, -9], [-0.5, 0, 0, 8], [0, 0.5, 0, 7], [0, 0, 0, 1.0]]),
    "oblique": _oblique(),
    "oblique and flipped": _oblique() @ np.diag([-1, 1, 1, 1]),
    "sheared": _oblique() @ (np.eye(4) + np.diag([0.2, 0, 0], 1)),
}


class TestWriteMask:
    @pytest.mark.parametrize("most", [1, 255, 256, 65535])
    def test_png_round_trip(self, tmp_path, most):
        array = np.random.default_rng(1).integers(0, most + 1, (20, 31))
        array[0, 0] = most
        labels = {int(v): str(v) for v in np.unique(array)}
        path = write_mask(Mask(array, labels), tmp_path / "a.png")
        mask = read_mask(path, labels)
        assert mask.array.dtype == (np.uint8 if most < 256 else np.uint16)
        np.testing.assert_array_equal(mask.array, array)
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    @pytest.mark.parametrize("most", [1, 300])
    def test_nifti_round_trip(self, tmp_path, affine, name, most):
        array = np.random.default_rng(1).integers(0, most + 1, (5, 6, 7)).astype(np.uint16)
        array[0, 0, 0] = most
        labels = {value: str(value) for value in range(most + 1)}
        path = write_mask(Mask(array, labels, affine=affine), tmp_path / name)
        mask = read_mask(path, labels)
        assert mask.array.dtype == (np.uint8 if most < 256 else np.uint16)
        np.testing.assert_array_equal(mask.array, array)
        np.testing.assert_allclose(mask.affine, affine, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            mask.spacing_mm, np.linalg.norm(affine[:3, :3].astype(np.float32), axis=0), rtol=1e-6
        )
        assert list(tmp_path.iterdir()) == [path]
        assert int(nib.load(path).header["sform_code"]) == 1

    @pytest.mark.parametrize(("name", "affine"), [("a.nii.gz", None), ("a.png", np.eye(4)), ("a.jpg", None)])
    def test_a_name_that_fits_no_writer(self, tmp_path, name, affine):
        array = np.zeros((2, 2) if affine is None else (2, 2, 2), np.uint8)
        refused(tmp_path / name, lambda path: write_mask(Mask(array, LABELS, affine=affine), path), name)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("value", [-1, 65536])
    @pytest.mark.parametrize(("name", "affine"), [("a.nii.gz", np.eye(4)), ("a.png", None)])
    def test_a_label_that_would_wrap_is_refused(self, tmp_path, value, name, affine):
        array = np.full((2, 2) if affine is None else (2, 2, 2), value)
        with pytest.raises(LabelError, match=str(value)):
            write_mask(Mask(array, affine=affine), tmp_path / name)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["a.png", "a.nii.gz"])
    def test_a_failed_write_leaves_the_old_file_alone(self, tmp_path, monkeypatch, name):
        def save_half(image, path, **options):
            path = image if isinstance(image, str) else path
            path.write_bytes(b"half")
            raise OSError("no space left on device")

        monkeypatch.setattr(Image.Image, "save", save_half)
        monkeypatch.setattr(nib, "save", save_half)
        (tmp_path / name).write_bytes(b"old")
        affine = None if name == "a.png" else np.eye(4)
        array = np.zeros((2, 2) if affine is None else (2, 2, 2), np.uint8)
        with pytest.raises(OSError, match="no space"):
            write_mask(Mask(array, affine=affine), tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == [name]


class TestNifti:
    def _save(self, path, array, affine=None, kind=nib.Nifti1Image, **header):
        image = kind(array, np.diag([1.0, 2, 3, 1]) if affine is None else affine)
        for key, value in header.items():
            image.header[key] = value
        nib.save(image, path)
        return path

    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
    def test_values_and_type_come_as_they_are(self, tmp_path, kind, dtype):
        array = np.arange(60).reshape(3, 4, 5).astype(dtype)
        volume = read_volume(self._save(tmp_path / "a.nii", array, AFFINES["oblique"], kind))
        assert volume.array.flags.writeable
        assert volume.array.dtype == dtype
        np.testing.assert_array_equal(volume.array, array[None])
        np.testing.assert_allclose(volume.affine, AFFINES["oblique"], rtol=1e-6)

    def test_slope_and_intercept_are_applied(self, tmp_path):
        image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
        image.header.set_slope_inter(2.5, -1024)
        nib.save(image, tmp_path / "a.nii")
        raw = nib.load(tmp_path / "a.nii").dataobj.get_unscaled()
        found = read_volume(tmp_path / "a.nii").array[0]
        assert (nib.load(tmp_path / "a.nii").dataobj.slope, np.ptp(found)) == (2.5, 2.5 * np.ptp(raw))
        np.testing.assert_allclose(found, raw * 2.5 - 1024)

    def test_big_endian_comes_in_the_order_of_the_machine(self, tmp_path):
        other = ">" if sys.byteorder == "little" else "<"
        array = np.arange(24).reshape(2, 3, 4).astype(f"{other}i2")
        header = nib.Nifti1Header(endianness=other)
        header.set_data_dtype(array.dtype)
        nib.save(nib.Nifti1Image(array, np.eye(4), header), tmp_path / "a.nii")
        assert nib.load(tmp_path / "a.nii").header.endianness == other
        volume = read_volume(tmp_path / "a.nii")
        assert volume.array.dtype.isnative
        np.testing.assert_array_equal(volume.array[0], array)

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_header_that_promises_more_is_refused_before_memory_is_taken(self, tmp_path, name):
        image = nib.Nifti1Image(np.zeros((20, 20, 20), np.int16), np.eye(4))
        nib.save(image, tmp_path / name)
        image.header.set_data_shape((30000, 30000, 30000))
        head = image.header.binaryblock
        opener = gzip.open if name.endswith(".gz") else open
        with opener(tmp_path / name, "rb") as file:
            rest = file.read()[len(head) :]
        with opener(tmp_path / name, "wb") as file:
            file.write(head + rest)
        refused(tmp_path / name, match=r"it holds 163\d\d of 54000000000\d+ bytes")

    def test_one_time_point_is_a_volume_and_more_are_not(self, tmp_path):
        array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        path = self._save(tmp_path / "a.nii", np.stack([array], axis=-1))
        np.testing.assert_array_equal(read_volume(path).array, array[None])
        refused(self._save(tmp_path / "a.nii", np.stack([array] * 5, axis=-1)), match=r"\(2, 3, 4, 5\)")
        refused(self._save(tmp_path / "a.nii", array[0]), match=r"\(3, 4\)")
        refused(self._save(tmp_path / "a.nii", array[:0]), match=r"\(0, 3, 4\)")

    def test_what_is_no_image_of_numbers_in_space(self, tmp_path):
        colours = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
        refused(self._save(tmp_path / "a.nii", colours), match="real numbers")
        refused(self._save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.complex64)), match="real numbers")
        path = self._save(tmp_path / "a.nii", np.zeros((2, 3, 4)), srow_x=[np.nan] * 4)
        content = bytearray(path.read_bytes())
        content[280:296] = np.full(4, np.nan, "<f4").tobytes()  # srow_x
        path.write_bytes(content)
        refused(path, match="can be used")
        content[280:296] = bytes(16)
        path.write_bytes(content)
        refused(path, match="can be used")
