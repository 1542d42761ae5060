"""A data set is measured as it is, and what is wrong with it is said."""

import json

import numpy as np
import pytest
from organ_data import SIDES, picture, pictures, volume, volumes, write_manifest, write_picture, write_volume

from medseg.errors import DataError, UsageError
from medseg.planning.fingerprint import take_fingerprint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    return tmp_path


class TestVolumes:
    def test_figures(self, folder):
        items = volumes(folder, 4)
        found = take_fingerprint(write_manifest(folder, items[:2], items[2:3], items[3:], SIDES))
        assert (found.cases, found.subjects, found.dimensions, found.channels) == (3, 3, 3, 1)
        assert found.items == {"training": 2, "validation": 1, "test": 1}
        assert found.modality == "CT"  # by its values: the manifest says nothing
        assert found.one_size
        assert [axis[1] for axis in found.shape] == [40, 32, 24]
        assert [axis[1] for axis in found.spacing_mm] == [5, 5, 5]
        assert found.anisotropy == 1
        assert found.median_size_mm == pytest.approx((200, 160, 120))
        own = found.foreground[0]
        assert own.mean == pytest.approx(120, abs=1)
        assert own.std == pytest.approx(10, abs=1)
        assert own.low == pytest.approx(120 - 2.58 * 10, abs=3)
        assert own.high == pytest.approx(120 + 2.58 * 10, abs=3)
        assert 50 < found.threshold[0] < 110
        assert not found.empty_masks

    def test_classes(self, folder):
        items = volumes(folder, 3)
        found = take_fingerprint(write_manifest(folder, items, labels=SIDES))
        counts = [np.count_nonzero(volume(seed)[1] == 1) for seed in range(3)]
        left = found.classes[0]
        assert (left.name, left.value, left.cases) == ("left_organ", 1, 3)
        assert left.voxels == (min(counts), np.median(counts), max(counts))
        assert left.volume_ml == pytest.approx([count * 0.125 for count in left.voxels])
        assert left.components == (1, 1, 1)
        assert left.smallest_share == 1
        assert left.brighter[0] > 0.99

    def test_axes_are_right_anterior_superior(self, folder):
        items = []
        for n in range(2):
            array, labels, affine = volume(n, shape=(20, 16, 8), spacing_mm=(5, 5, 10))
            turned = affine[:, [2, 0, 1, 3]]
            items.append(
                write_volume(folder, f"t{n}", np.moveaxis(array, 2, 0), np.moveaxis(labels, 2, 0), turned)
            )
        found = take_fingerprint(write_manifest(folder, items, labels=SIDES))
        assert [axis[1] for axis in found.spacing_mm] == [5, 5, 10]
        assert [axis[1] for axis in found.shape] == [20, 16, 8]
        assert found.anisotropy == 2

    def test_many_sizes(self, folder):
        items = [
            write_volume(folder, "a", *volume(0)),
            write_volume(folder, "b", *volume(1, shape=(50, 40, 12), spacing_mm=(4, 4, 10))),
        ]
        found = take_fingerprint(write_manifest(folder, items, labels=SIDES))
        assert not found.one_size
        assert found.shape == ((40, 45, 50), (32, 36, 40), (12, 18, 24))

    def test_another_modality_is_not_ct(self, folder):
        items = volumes(folder, 2, outside=0.0)
        assert take_fingerprint(write_manifest(folder, items, labels=SIDES)).modality is None
        mr = write_manifest(folder, items, labels=SIDES, modality={"0": "MRI"})
        assert take_fingerprint(mr).modality == "MR"

    def test_ct_that_is_none(self, folder):
        items = volumes(folder, 2, outside=0.0)
        manifest = write_manifest(folder, items, labels=SIDES, modality={"0": "CT"})
        with pytest.raises(DataError, match=r"2 of 2 volumes .* without air"):
            take_fingerprint(manifest)

    def test_a_mask_in_another_place(self, folder):
        items = volumes(folder, 2)
        array, labels, affine = volume(0)
        moved = affine.copy()
        moved[0, 3] += 20
        write_volume(folder, "moved", array, labels, moved)
        items[0]["label"] = "moved_label.nii.gz"
        with pytest.raises(
            DataError, match="a mask in the image's place; got one whose corners lie up to 20 mm"
        ):
            take_fingerprint(write_manifest(folder, items, labels=SIDES))

    def test_very_thick_slices(self, folder):
        items = volumes(folder, 2, shape=(60, 48, 6), spacing_mm=(2.5, 2.5, 25))
        found = take_fingerprint(write_manifest(folder, items, labels=SIDES))
        assert "voxels are 10.0 times longer than wide" in " ".join(found.warnings)


class TestPictures:
    def test_figures(self, folder):
        found = take_fingerprint(write_manifest(folder, pictures(folder, 4)))
        assert (found.dimensions, found.channels, found.modality) == (2, 3, None)
        assert found.spacing_mm is None
        assert [axis[1] for axis in found.shape] == [60, 80]
        means = [own.mean for own in found.foreground]
        assert means == pytest.approx([180, 144, 90], abs=2)
        assert found.foreground_share[1] == pytest.approx(np.pi * 144 / 4800, rel=0.05)
        assert found.classes[0].volume_ml is None

    def test_grey_among_colour(self, folder):
        items = [
            *pictures(folder, 2),
            write_picture(folder, "grey", *picture(9, channels=1)),
        ]
        found = take_fingerprint(write_manifest(folder, items))
        assert found.channels == 3
        assert any("1 of 3 pictures are grey" in warning for warning in found.warnings)

    def test_empty_masks_are_counted(self, folder):
        items = pictures(folder, 3)
        items.append(write_picture(folder, "none", picture(7)[0], np.zeros((60, 80), np.uint8)))
        found = take_fingerprint(write_manifest(folder, items))
        assert found.empty_masks == 1
        assert found.classes[0].cases == 3
        assert found.foreground_share[0] == 0

    def test_the_test_split_is_not_opened(self, folder):
        items = pictures(folder, 3)
        gone = {"image": "no.png", "label": "no.png", "subject": "x"}
        assert take_fingerprint(write_manifest(folder, items, test=[gone])).items["test"] == 1

    def test_the_same_figures_again(self, folder):
        manifest = write_manifest(folder, pictures(folder, 3))
        assert take_fingerprint(manifest).record() == take_fingerprint(manifest).record()


class TestRefused:
    def refused(self, manifest, match):
        with pytest.raises(DataError, match=match):
            take_fingerprint(manifest)

    def test_no_manifest(self, folder):
        with pytest.raises(UsageError, match="a manifest"):
            take_fingerprint(folder / "none.json")

    def test_one_subject(self, folder):
        items = [item | {"subject": "a"} for item in pictures(folder, 3)]
        self.refused(write_manifest(folder, items), "at least two subjects.*one can't be split")

    def test_no_subjects(self, folder):
        items = pictures(folder, 3)
        del items[1]["subject"]
        self.refused(write_manifest(folder, items), "1 of 3 items without one")

    def test_nothing_to_learn(self, folder):
        empty = np.zeros((60, 80), np.uint8)
        items = [write_picture(folder, f"e{n}", picture(n)[0], empty) for n in range(3)]
        self.refused(write_manifest(folder, items), "3 cases whose masks are all background")

    def test_pictures_and_volumes(self, folder):
        items = [*pictures(folder, 2), write_volume(folder, "v", *volume(0))]
        labels = ("background", "organ", "other")
        self.refused(write_manifest(folder, items, labels=labels), "2 pictures and 1 volumes")

    def test_a_mask_of_another_size(self, folder):
        items = pictures(folder, 3)
        other = write_picture(folder, "other", *picture(5, shape=(60, 81)))
        items[0]["label"] = other["label"]
        self.refused(
            write_manifest(folder, items), r"case0.png: expected a mask of the image's size \(60, 80\)"
        )

    def test_a_missing_file(self, folder):
        items = pictures(folder, 3)
        (folder / "case1.png").unlink()
        self.refused(write_manifest(folder, items), "1 of 3 that can't: case1.png")

    def test_no_mask(self, folder):
        items = pictures(folder, 3)
        del items[2]["label"]
        self.refused(write_manifest(folder, items), "item 3 has no entry 'label'")

    def test_a_value_that_no_label_has(self, folder):
        items = volumes(folder, 2)
        self.refused(write_manifest(folder, items, labels=("background", "left_organ")), "2 of 2 that can't")

    @pytest.mark.parametrize("labels", [
        {"0": "background", "2": "organ"},
        {"0": "background"},
        {"0": "background", "1": "organ", "2": "organ"},
        {"0": "background", "1": ""},
    ])  # fmt: skip
    def test_labels_that_are_no_channels(self, folder, labels):
        manifest = write_manifest(folder, pictures(folder, 3))
        content = json.loads(manifest.read_text()) | {"labels": labels}
        manifest.write_text(json.dumps(content))
        self.refused(manifest, "without a gap, each with a name of its own")

    def test_a_blank_image(self, folder):
        items = pictures(folder, 3)
        write_picture(folder, "case2", np.full((60, 80, 3), 7, np.uint8), picture(2)[1])
        self.refused(write_manifest(folder, items), "case2.png: expected an image that shows something")


def test_a_label_that_no_case_has_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    manifest = write_manifest(tmp_path, volumes(tmp_path, 3), labels=(*SIDES, "gland"))
    assert "no case has the label gland: nothing can learn it" in take_fingerprint(manifest).warnings
