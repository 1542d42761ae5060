"""Shipped manifests tell the truth, and every kind of unsound data set is found before it is used."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medseg.bundle import open_bundle, parse, sha256, tasks
from medseg.data.manifests import (
    FILE_KEYS,
    REQUIRED,
    SPLITS,
    check_manifest,
    load_items,
    read_manifest,
    require_sound,
    shipped_manifests,
)
from medseg.errors import DataError, UsageError

SHIPPED = sorted(path.stem for path in shipped_manifests().glob("*.json"))
LABELS_OF_TASKS = [{*parse(open_bundle(task), "inference.yaml")["labels"].values()} for task in tasks()]
HERE = ("chase_db1", "hrf", "fives")  # under shared/data
# retina.csv's names for the splits.
CSV_SPLIT = {"training": "train", "validation": "val", "test": "test"}


def test_the_shipped_ones():
    retinas = {"chase_db1", "drive", "fives", "hrf", "les_av", "stare"}
    lungs = {"lung_phantoms", "lung_silver", "lung_slices", "cip_64", "elastix"}
    assert {"bus_bra", "busi", *retinas, *lungs} == set(SHIPPED)


@pytest.fixture
def some_data_root(monkeypatch, tmp_path):
    """A manifest with patterns is expanded over the data folder, be it empty."""
    monkeypatch.setenv("MEDSEG_DATA", os.environ.get("MEDSEG_DATA") or str(tmp_path))


@pytest.mark.usefixtures("some_data_root")
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_manifest_is_complete(name):
    content = read_manifest(name)
    assert content["name"] == name
    made_here = {"urls"} if name == "lung_phantoms" else set()
    assert all(content[key] for key in REQUIRED if key not in {*SPLITS, *made_here})
    assert content["labels"]["0"] == "background"
    named = {*content["labels"].values()} - {"background"}
    assert any(named and named <= labels for labels in LABELS_OF_TASKS), named
    items = [item for split in SPLITS for item in content[split]]
    assert items
    assert all(item["image"] and item["label"] and item["subject"] for item in items)


def test_the_labels_of_cip():
    """A value is a region and 256 times a type: with a region of any type it is lung, without one never."""
    labels = {int(value): name for value, name in read_manifest("cip_64")["labels"].items()}
    sides = {9: "left_lung", 10: "left_lung", 11: "left_lung"} | dict.fromkeys((12, 13, 14), "right_lung")
    no_region = {0: "background", 2: "airway", 3: "background"}
    for value, name in labels.items():
        kind, region = divmod(value, 256)
        assert name == (sides[region] if region else no_region[kind]), value
    assert set(labels.values()) == {"background", "left_lung", "right_lung", "airway"}


@pytest.mark.usefixtures("some_data_root")
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_splits_share_no_subject_and_no_file(name):
    content = read_manifest(name)
    for key in ("subject", *FILE_KEYS):
        # A pattern's files are subjects of their own, each with a name that begins with the pattern's.
        found = [
            {
                item[key]
                for item in content[split]
                if key in item and (key != "subject" or "*" not in item["image"])
            }
            for split in SPLITS
        ]
        assert len(set().union(*found)) == sum(len(values) for values in found), key


@pytest.mark.data
@pytest.mark.parametrize("name", ["chase_db1", "hrf"])
def test_splits_are_those_of_the_data(name, data_root):
    folder = {"chase_db1": "chase_db1/", "hrf": "hrf_half/"}[name]
    with (data_root / "retina" / "retina.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["image"].startswith(folder)]
    content = read_manifest(name)
    for split in SPLITS:
        expected = {
            (f"retina/{row['image']}", row["subject"]) for row in rows if row["split"] == CSV_SPLIT[split]
        }
        assert {(item["image"], item["subject"]) for item in content[split]} == expected
        assert len(content[split]) == len(expected) > 0


@pytest.mark.data
def test_folds_of_breast_ultrasound_are_the_publishers(data_root):
    """By patient, each with one histology; the manifest's own split holds the last of them out."""
    with (data_root / "breast" / "bus_bra.csv").open() as file:
        rows = list(csv.DictReader(file))
    content = read_manifest("bus_bra")
    items = content["training"] + content["validation"]
    columns = ("subject", "pathology", "birads", "device")
    listed = [(item["image"], *(item[name] for name in columns), item["fold"]) for item in items]
    expected = [
        (f"breast/{row['image']}", *(row[name] for name in columns), int(row["fold"])) for row in rows
    ]
    assert sorted(listed) == sorted(expected)
    assert {item["fold"] for item in content["training"]} == {1, 2, 3}
    assert {item["fold"] for item in content["validation"]} == {4}
    assert len({item["subject"] for item in items}) == 852
    assert len({(item["subject"], item["fold"], item["pathology"]) for item in items}) == 852
    assert content["test"] == []


@pytest.mark.data
@pytest.mark.parametrize("name", [*HERE, "bus_bra", "busi"])
def test_recorded_hashes_are_those_of_the_files(name, data_root):
    content = read_manifest(name)
    used = {item[key] for split in SPLITS for item in content[split] for key in FILE_KEYS if key in item}
    assert set(content["sha256"]) == used
    wrong = [file for file, digest in content["sha256"].items() if sha256(data_root / file) != digest]
    assert not wrong


@pytest.mark.data
@pytest.mark.parametrize("name", [*HERE, "busi", pytest.param("bus_bra", marks=pytest.mark.slow)])
def test_real_data_is_sound(name, data_root):
    assert check_manifest(name) == []


def test_phantom_data_is_sound(phantom_data):
    assert check_manifest(phantom_data.manifest) == []
    require_sound([phantom_data.manifest])


def damage_missing(data):
    (data.folder / "1.png").unlink()


def damage_missing_label(data):
    (data.folder / "4_label_2nd.png").unlink()


def damage_truncated(data):
    path = data.folder / "1.png"
    path.write_bytes(path.read_bytes()[:2000])


def damage_no_image(data):
    (data.folder / "1.png").write_text("not a picture")


def damage_label_size(data):
    Image.fromarray(np.zeros((240, 200), np.uint8)).save(data.folder / "2_label.png")


def damage_field_size(data):
    Image.fromarray(np.full((20, 24), 255, np.uint8)).save(data.folder / "5_given_field.png")


def damage_values(data):
    label = np.asarray(Image.open(data.folder / "2_label.png")).copy()
    label[0, 0] = 7
    Image.fromarray(label).save(data.folder / "2_label.png")


def damage_subject(data):
    data.content["test"][0]["subject"] = "phantom_0"


def damage_fold(data):
    for item, fold in zip(data.content["training"], (1, 2, 2), strict=True):
        item |= {"subject": "anna", "fold": fold}


def damage_copy(data):
    shutil.copy(data.folder / "0.png", data.folder / "1.png")


def damage_copy_across(data):
    shutil.copy(data.folder / "0.png", data.folder / "4.png")


def damage_listed_twice(data):
    data.content["training"].append(dict(data.content["training"][0]))


def damage_without_label(data):
    del data.content["validation"][0]["label"]


def damage_without_subject(data):
    data.content["training"][1]["subject"] = ""


def damage_hash(data):
    data.content["sha256"] = {"1_label.png": sha256(data.folder / "0_label.png")}


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (damage_missing, ["training[1] image", "1.png is missing"]),
        (damage_missing_label, ["test[0] label_2nd", "4_label_2nd.png is missing"]),
        (damage_truncated, ["training[1] image", "can't be decoded"]),
        (damage_no_image, ["training[1] image", "no known format"]),
        (damage_label_size, ["training[2] label", "size (240, 200), but the image has (240, 240)"]),
        (damage_field_size, ["test[1] given_field", "size (20, 24), but the image has (240, 240)"]),
        (damage_values, ["training[2] label", "label values [0, 1]", "7"]),
        (damage_subject, ["subject phantom_0", "test, training"]),
        (damage_fold, ["subject anna is in the folds 1, 2"]),
        (damage_copy, ["same image content", "0.png (training[0])", "1.png (training[1])"]),
        (damage_copy_across, ["same image content", "0.png (training[0])", "4.png (test[0])"]),
        (damage_listed_twice, ["same image content", "0.png (training[0])", "0.png (training[3])"]),
        (damage_without_label, ["validation[0] has no label"]),
        (damage_without_subject, ["training[1] has no subject"]),
        (damage_hash, ["training[1] label", "1_label.png", "another SHA-256"]),
    ],
)
def test_one_damage_is_one_finding_and_refused(phantom_data, damage, finding):
    damage(phantom_data)
    phantom_data.save()
    problems = check_manifest(phantom_data.manifest)
    assert len(problems) == 1, problems
    assert all(part in problems[0] for part in finding), problems
    with pytest.raises(DataError) as refused:
        require_sound([phantom_data.manifest])
    assert problems[0] in str(refused.value)
    assert "medseg check-data" in refused.value.advice


def test_sizes_are_compared_with_the_image_alone(phantom_data):
    """Without it, a label says nothing about the other's size."""
    damage_field_size(phantom_data)
    (phantom_data.folder / "5.png").unlink()
    assert [problem.split(": ")[0] for problem in check_manifest(phantom_data.manifest)] == ["test[1] image"]


def test_require_sound_reads_every_manifest(phantom_data):
    other = phantom_data.folder / "other.json"
    shutil.copy(phantom_data.manifest, other)
    damage_without_subject(phantom_data)
    phantom_data.save()
    require_sound(other)
    with pytest.raises(DataError, match="phantoms"):
        require_sound([other, phantom_data.manifest])


@pytest.mark.parametrize(("name", "meant"), [("chase_db", "chase_db1"), ("hfr", "hrf"), ("DRIVE", None)])
def test_unknown_manifest(name, meant):
    with pytest.raises(UsageError) as error:
        read_manifest(name)
    assert error.value.got == name
    expected = f"Did you mean {meant}?" if meant else f"Known names: {', '.join(SHIPPED)}."
    assert error.value.advice == expected


@pytest.mark.parametrize("text", ["", "{", '{"name": "phantoms",}', "\xff"])
def test_damaged_json(phantom_data, text):
    phantom_data.manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a manifest in JSON; got phantoms\.json, which is not JSON"):
        read_manifest(phantom_data.manifest)


@pytest.mark.parametrize("text", ["3", "null", "[]", "{}", '"training"'])
def test_json_of_another_kind(phantom_data, text):
    phantom_data.manifest.write_text(text)
    with pytest.raises(DataError, match="without name"):
        read_manifest(phantom_data.manifest)


@pytest.mark.parametrize("key", REQUIRED)
def test_required_entry(phantom_data, key):
    del phantom_data.content[key]
    phantom_data.save()
    with pytest.raises(DataError, match=rf"phantoms\.json without {key}\."):
        read_manifest(phantom_data.manifest)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training", None),
        ("training", {"image": "0.png"}),
        ("validation", ["0.png"]),
        ("test", [{"image": 3}]),
        ("test", [{"image": "0.png", "label": "0_label.png", "subject": 7}]),
        ("training", [{"image": "0.png", "fold": "first"}]),
        ("labels", ["background", "vessel"]),
        ("labels", {"background": 0}),
        ("labels", {}),
        ("sha256", "abc"),
    ],
)
def test_entry_of_the_wrong_kind(phantom_data, key, value):
    phantom_data.content[key] = value
    phantom_data.save()
    with pytest.raises(DataError, match=f"phantoms.json, where {key} has another form"):
        check_manifest(phantom_data.manifest)


def test_items(phantom_data):
    items = load_items([phantom_data.manifest], "validation")
    files = {"image": str(phantom_data.folder / "3.png"), "label": str(phantom_data.folder / "3_label.png")}
    labels = {0: "background", 1: "vessel"}
    about = {"subject": "phantom_3", "data_set": "phantoms", "labels": labels}
    assert items == [files | about]
    assert load_items([phantom_data.manifest], "validation", ["image", "label"]) == [files]
    keys = ["image", "label_2nd", "given_field", "subject"]
    first, second = load_items(phantom_data.manifest, "test", keys)
    assert first == {
        "image": str(phantom_data.folder / "4.png"),
        "label_2nd": str(phantom_data.folder / "4_label_2nd.png"),
        "subject": "phantom_4",
    }
    assert second["given_field"] == str(phantom_data.folder / "5_given_field.png")


def test_entries_that_are_no_files_stay_as_they_are(phantom_data):
    more = {"pathology": "benign", "device": "A/B @10-14MHz", "birads": "4", "fold": 2}
    phantom_data.content["validation"][0] |= more
    phantom_data.save()
    assert load_items(phantom_data.manifest, "validation", list(more)) == [more]


def test_items_of_several_manifests(phantom_data):
    other = phantom_data.folder / "other.json"
    other.write_text(json.dumps(phantom_data.content | {"training": [{"image": "x.png", "label": "y.png"}]}))
    items = load_items([phantom_data.manifest, other], "training")
    assert [Path(item["image"]).name for item in items] == ["0.png", "1.png", "2.png", "x.png"]


def test_each_item_knows_its_own_manifest(phantom_data):
    """Its name, and what its values stand for."""
    other = phantom_data.folder / "other.json"
    labels = {"0": "background", "1": "artery", "2": "vein"}
    other.write_text(json.dumps(phantom_data.content | {"name": "other", "labels": labels}))
    first, second = load_items([phantom_data.manifest, other], "validation", ["data_set", "labels"])
    assert first == {"data_set": "phantoms", "labels": {0: "background", 1: "vessel"}}
    assert second == {"data_set": "other", "labels": {0: "background", 1: "artery", 2: "vein"}}


def test_unknown_split(phantom_data):
    with pytest.raises(UsageError, match="Did you mean training"):
        load_items([phantom_data.manifest], "train")


def test_empty_split(phantom_data):
    phantom_data.content["validation"] = []
    phantom_data.save()
    with pytest.raises(DataError, match="items in the split validation; got none"):
        load_items([phantom_data.manifest], "validation")


@pytest.fixture
def patterns(tmp_path, monkeypatch):
    """Touch files under MEDSEG_DATA and expand an entry over them."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))

    def expand(files, **entry):
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        content = {key: {"0": "background", "1": "vessel"} if key == "labels" else [] for key in REQUIRED}
        (tmp_path / "manifest.json").write_text(json.dumps(content | {"test": [entry]}))
        return read_manifest(tmp_path / "manifest.json")["test"]

    return expand


def test_pattern(patterns):
    files = ["images/1.png", "images/12.png", "images/2.jpg", "images/.DS_Store", "images/._1.png"]
    files += ["labels/1_mask.png", "labels/12.png", "labels/2-manual.gif", "fields/1.fov.png"]
    files += ["fields/12 fov.png", "fields/2.png"]
    items = patterns(files, image="images/*", label="labels/*", given_field="fields/*", subject="clinic")
    assert items == [
        {
            "image": image,
            "label": f"labels/{label}",
            "given_field": f"fields/{field}",
            "subject": f"clinic_{Path(image).stem}",
        }
        for image, label, field in (
            ("images/1.png", "1_mask.png", "1.fov.png"),
            ("images/12.png", "12.png", "12 fov.png"),
            ("images/2.jpg", "2-manual.gif", "2.png"),
        )
    ]


def test_pattern_of_one_kind_of_file(patterns):
    files = ["images/1.png", "images/1.txt", "labels/1.png", "labels/1_other.gif"]
    assert patterns(files, image="images/*.png", label="labels/*.png") == [
        {"image": "images/1.png", "label": "labels/1.png", "subject": "subject_1"}
    ]


def test_labels_beside_the_images_are_no_images(patterns):
    files = ["eyes/1.png", "eyes/1_mask.png", "eyes/2.png", "eyes/2_mask.png"]
    items = patterns(files, image="eyes/*.png", label="eyes/*_mask.png")
    assert [(item["image"], item["label"]) for item in items] == [
        ("eyes/1.png", "eyes/1_mask.png"),
        ("eyes/2.png", "eyes/2_mask.png"),
    ]


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        ([], "none"),
        (["labels/120.png"], "none"),  # another image's number
        (["labels/ab-12.png"], "none"),
        (["labels/12.png", "labels/12_mask.png"], "12.png, 12_mask.png"),
    ],
)
def test_pattern_with_no_or_several_labels(patterns, labels, got):
    with pytest.raises(DataError) as error:
        patterns(["images/12.png", *labels], image="images/*.png", label="labels/*.png")
    assert error.value.expected == "one file of labels/*.png for 12.png"
    assert error.value.got == got


def test_pattern_from_elsewhere(patterns, tmp_path):
    with pytest.raises(DataError, match="relative to MEDSEG_DATA"):
        patterns(["images/1.png"], image=f"{tmp_path}/images/*.png", label="labels/*.png")


def test_pattern_without_files_is_found(patterns, tmp_path):
    patterns([], image="images/*.png", label="labels/*.png", subject="clinic")
    problems = check_manifest(tmp_path / "manifest.json")
    assert problems[0] == "test[0] image: the file images/*.png is missing"
