"""A sample depends on seed, epoch and index alone, and processes share batches without a gap."""

import random
from itertools import count

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from fundus_pictures import write_png
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.transforms import (
    Compose,
    CropForegroundd,
    DeleteItemsd,
    GridSplitd,
    Lambdad,
    OneOf,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Rotated,
    ScaleIntensityd,
)

from medseg.case import Origin
from medseg.data.samples import EpochBatches, PreparedDataset, SampleError, data_digest
from medseg.errors import DataError, UsageError
from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
    NormalizeFieldOfViewd,
    RandBlobsd,
    RandColourMixd,
    ResizeFieldOfViewd,
)

LABELS = {0: "background", 1: "vessel"}
REPEATS = 2
DRAWS = [(epoch, index) for epoch in (1, 2) for index in range(3 * REPEATS)]
calls = count()


def fixed():
    return [
        LoadVolumed("image", ["label"], labels=LABELS),
        FindFieldOfViewd("image"),
        ResizeFieldOfViewd(["image", "field_of_view", "label"], diameter_px=64),
        NormalizeFieldOfViewd("image"),
        DeleteItemsd("field_of_view"),
    ]


def varied():
    return [
        RandAffined(
            ["image", "label"], prob=1.0, spatial_size=(32, 32), translate_range=20, padding_mode="zeros"
        ),
        RandFlipd(["image", "label"], prob=0.5),
        RandBlobsd("image", prob=1.0),
        doubled,
        RandColourMixd("image", prob=1.0),
        OneOf([RandGaussianSmoothd("image", prob=1.0), RandGaussianNoised("image", prob=1.0)]),
    ]


def doubled(item):
    """A function that is no Transform."""
    return item | {"image": item["image"] * 2}


def numbered(item):
    return item | {"call": next(calls)}


def identity(batch):
    return batch


@pytest.fixture(scope="module")
def items(phantom_folder):
    return [
        {"image": f"{phantom_folder}/{seed}.png", "label": f"{phantom_folder}/{seed}_label.png"}
        for seed in range(3)
    ]


@pytest.fixture
def changing_items(tmp_path):
    """Items of one bright disc each, that a test may change."""
    return [disc(tmp_path, number) for number in range(2)]


def disc(folder, number, radius=20):
    rows, columns = np.ogrid[:64, :64]
    inside = np.hypot(rows - 32, columns - 32) < radius
    write_png(folder / f"{number}.png", np.where(inside, 100 + number, 0).astype(np.uint8))
    write_png(folder / f"{number}_label.png", inside.astype(np.uint8))
    return {"image": str(folder / f"{number}.png"), "label": str(folder / f"{number}_label.png")}


def loading(*more):
    return Compose([LoadVolumed("image", ["label"], labels=LABELS), *more])


@pytest.fixture(scope="module")
def expected(items):
    """Every sample of two epochs, each from a data set of its own."""
    return {draw: new_dataset(items)[draw] for draw in DRAWS}


def new_dataset(items, seed=3, cache_dir=None):
    return PreparedDataset(items * REPEATS, Compose([*fixed(), *varied()]), seed, cache_dir)


def same(first, second):
    return set(first) == set(second) and all(
        torch.equal(first[key], second[key]) and first[key].dtype == second[key].dtype
        for key in ("image", "label")
    )


def assert_same(found, expected):
    assert same(found, expected)
    meta = found["image"].meta
    assert set(meta) == set(expected["image"].meta) >= {"filename_or_obj", "field_box", "affine"}
    for name, value in expected["image"].meta.items():
        if isinstance(value, Origin):
            assert vars(meta[name]) == vars(value)
        else:
            assert np.array_equal(meta[name], value), name
    operations, theirs = (
        [operation["class"] for operation in sample["image"].applied_operations]
        for sample in (found, expected)
    )
    assert operations == theirs


def epochs_of(dataset, new_loader, num_workers):
    """Samples of two epochs by their draw, as a training loads them."""
    sampler = EpochBatches(len(dataset), 2, seed=5)
    loader = new_loader(dataset, sampler, num_workers)
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        for draws, batch in zip(list(sampler), loader, strict=True):
            yield from zip(draws, batch, strict=True)


@pytest.fixture
def new_loader():
    """Loaders as the configuration's, but without collation; their workers end with the test."""
    loaders = []

    def make(dataset, sampler, num_workers):
        loaders.append(
            DataLoader(
                dataset,
                batch_sampler=sampler,
                num_workers=num_workers,
                persistent_workers=num_workers > 0,
                collate_fn=identity,
            )
        )
        return loaders[-1]

    yield make
    for loader in loaders:
        if loader._iterator:
            loader._iterator._shutdown_workers()


@pytest.fixture
def _several_threads():
    """In the main process, as on any computer; workers have one each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


# --- samples ---


@pytest.mark.seconds
@pytest.mark.usefixtures("_several_threads")
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_any_number_of_workers_and_any_cache(items, expected, tmp_path, new_loader, num_workers, cached):
    dataset = new_dataset(items, cache_dir=tmp_path / "cache" if cached else None)
    found = dict(epochs_of(dataset, new_loader, num_workers))
    assert set(found) == set(DRAWS)
    for draw, sample in found.items():
        assert_same(sample, expected[draw])
    if cached:
        assert len(list((tmp_path / "cache").iterdir())) == len(items)
        assert_same(new_dataset(items, cache_dir=tmp_path / "cache")[DRAWS[3]], expected[DRAWS[3]])


@pytest.mark.seconds
def test_any_order(items, expected):
    dataset = new_dataset(items)
    for draw in [*reversed(DRAWS), DRAWS[0], DRAWS[0], DRAWS[7]]:
        assert_same(dataset[draw], expected[draw])


def test_every_draw_is_another_sample(items, expected):
    for number, draw in enumerate(DRAWS):
        assert not any(same(expected[draw], expected[other]) for other in DRAWS[:number])
    # The first item, its repetition, the next epoch, another seed: other patches of one picture.
    first, again, later = (expected[draw] for draw in [(1, 0), (1, 3), (2, 0)])
    assert first["image"].meta["filename_or_obj"] == again["image"].meta["filename_or_obj"]
    assert len({float(sample["label"].sum()) for sample in (first, again, later)}) == 3
    assert not same(new_dataset(items, seed=4)[1, 0], first)


def test_a_seed_an_epoch_and_an_index_are_not_mixed_up(items):
    """Sums or products of them would give one sample twice."""
    data = [items[0]] * 8
    samples = [
        PreparedDataset(data, Compose([*fixed(), RandGaussianNoised("image", prob=1.0)]), seed)[epoch, index]
        for seed, epoch, index in [(1, 2, 4), (2, 1, 4), (1, 4, 2), (2, 4, 1), (3, 2, 2), (0, 0, 7)]
    ]
    assert len({float(sample["image"].sum()) for sample in samples}) == len(samples)


def test_an_index_alone_is_of_epoch_0(items):
    dataset = new_dataset(items)
    assert_same(dataset[1], dataset[0, 1])
    assert len(dataset) == 3 * REPEATS


def test_global_generators_are_left_alone(items, expected):
    dataset = new_dataset(items)
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    assert_same(dataset[1, 2], expected[1, 2])
    assert random.getstate() == before[0]
    assert all(map(np.array_equal, np.random.get_state(), before[1]))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("first", [numbered, RandFlipd("image", prob=0.5), OneOf([ScaleIntensityd("image")])])
def test_nothing_is_cached_from_a_step_on_that_may_vary(changing_items, tmp_path, first):
    dataset = PreparedDataset(changing_items, loading(first, numbered), cache_dir=tmp_path / "cache")
    numbers = [dataset[0]["call"] for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_steps_before_it_are_cached_though_composed_within_each_other(changing_items, tmp_path):
    """CropForegroundd stands for any deterministic step, behind a Compose in a Compose."""
    crop = CropForegroundd(["image", "label"], source_key="image", allow_smaller=True)
    nested = Compose([loading(Compose([crop])), numbered])
    dataset = PreparedDataset(changing_items, nested, cache_dir=tmp_path / "cache")
    first = dataset[0]
    crop.keys = ("missing",)
    again = dataset[0]
    assert first["image"].shape == (3, 39, 39)
    assert torch.equal(first["image"], again["image"])
    assert again["call"] > first["call"]


def test_a_transform_that_is_a_choice_is_not_a_sequence(changing_items):
    choice = OneOf([loading(ScaleIntensityd("image", value, value)) for value in (3, 7)])
    dataset = PreparedDataset(changing_items, choice)
    values = {int(dataset[epoch, 0]["image"].max()) for epoch in range(8)}
    assert values == {3, 7}


def test_a_step_that_makes_several_samples(items, tmp_path):
    crop = RandCropByPosNegLabeld(["image", "label"], label_key="label", spatial_size=(16, 16), num_samples=3)
    dataset = PreparedDataset(items, Compose([*fixed(), crop]), cache_dir=tmp_path / "cache")
    (batch,) = DataLoader(dataset, batch_sampler=[[(1, 0), (1, 2)]])
    assert batch["image"].shape == (6, 3, 16, 16)
    assert batch["seconds"].shape == (6, 2)
    samples = dataset[1, 2]
    assert all(torch.equal(sample["image"], batch["image"][3 + i]) for i, sample in enumerate(samples))
    splits = PreparedDataset(items, Compose([*fixed(), GridSplitd("image")]), cache_dir=tmp_path / "cache")
    assert [len(splits[0]), len(splits[0])] == [4, 4]


def test_resampling_stays_lazy(changing_items):
    """Two turns of an eighth are one of a quarter when they are made at once: nothing is blurred."""
    steps = [LoadVolumed("image"), *[Rotated("image", np.pi / 4, keep_size=True)] * 2]
    steps += [RandFlipd("image", prob=1.0)]
    expected = Compose(steps, lazy=True)(changing_items[0])["image"]
    found = PreparedDataset(changing_items, Compose(steps, lazy=True))[0]["image"]
    blurred = PreparedDataset(changing_items, Compose(steps))[0]["image"]
    assert (found - expected).abs().max() < 0.1 * (blurred - expected).abs().max()


def test_seconds(changing_items, monkeypatch):
    clock = [0.0]

    def take(seconds):
        def step(item):
            clock[0] += seconds
            return item

        return step

    monkeypatch.setattr("medseg.data.samples.time.perf_counter", lambda: clock[0])
    dataset = PreparedDataset(changing_items, loading(Lambdad("image", take(2.0)), take(3.0), take(0.5)))
    assert dataset[0]["seconds"].tolist() == [2.0, 3.5]
    several = PreparedDataset(changing_items, loading(take(3.0), lambda item: [item, dict(item)]))
    assert [sample["seconds"].tolist() for sample in several[0]] == [[0.0, 1.5]] * 2


# --- items that can't be taken ---


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_item_that_fails_says_why_from_a_worker_too(changing_items, new_loader, num_workers):
    label = np.zeros((64, 64), np.uint8)
    label[3, 3] = 9
    write_png(changing_items[1]["label"], label)
    steps = [LoadVolumed("image", ["label"], labels=LABELS)]
    dataset = PreparedDataset(changing_items, Compose(steps))
    loader = new_loader(dataset, [[(1, 1)]], num_workers)
    with pytest.raises(SampleError) as error:
        next(iter(loader))
    with pytest.raises(DataError) as plain:
        steps[0](changing_items[1])
    assert str(error.value) == str(plain.value)
    assert error.value.exit_code == DataError.exit_code
    assert "Traceback" not in error.value.expected + error.value.got + error.value.advice


def test_a_file_that_is_missing(changing_items):
    changing_items[1]["label"] = changing_items[1]["label"].replace("1_label", "2_label")
    with pytest.raises(DataError, match=r"2_label\.png \(No such file or directory\)"):
        PreparedDataset(changing_items, loading())


def test_the_digest_is_of_the_content(changing_items, tmp_path):
    def digest(items):
        return data_digest(PreparedDataset(items, loading()))

    first = digest(changing_items)
    assert digest(changing_items[::-1]) == first
    assert digest(changing_items[:1]) != first
    assert digest([*changing_items, changing_items[0]]) == first
    disc(tmp_path, 1, radius=21)
    assert digest(changing_items) != first


# --- batches ---


def batches(epoch, length=23, batch_size=4, seed=0):
    sampler = EpochBatches(length, batch_size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_index_at_most_once_an_epoch():
    drawn = [draw for batch in batches(7) for draw in batch]
    assert len(batches(7)) == len(EpochBatches(23, 4)) == 5
    assert len(set(drawn)) == len(drawn) == 20
    assert {epoch for epoch, _ in drawn} == {7}
    assert {index for _, index in drawn} < set(range(23))
    assert sorted(index for _, index in batches(1, length=8)[0] + batches(1, length=8)[1]) == list(range(8))


def test_every_epoch_has_an_order_of_its_own():
    orders = [[index for batch in batches(epoch) for _, index in batch] for epoch in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    assert list(range(20)) not in orders
    # What one epoch leaves out the next ones take.
    assert set().union(*orders) == set(range(23))


def test_the_seed_decides_the_order():
    assert batches(2, seed=1) == batches(2, seed=1)
    assert batches(2, seed=1) != batches(2, seed=2)
    assert batches(1, seed=2) != [[(1, index) for _, index in batch] for batch in batches(2, seed=1)]


def test_an_order_does_not_depend_on_earlier_ones():
    sampler = EpochBatches(23, 4)
    for epoch in (1, 2, 3):
        sampler.set_epoch(epoch)
        again = list(sampler)
    assert again == list(sampler) == batches(3)


@pytest.fixture
def as_process(monkeypatch):
    def become(rank, count):
        monkeypatch.setattr(idist, "get_rank", lambda: rank)
        monkeypatch.setattr(idist, "get_world_size", lambda: count)

    return become


@pytest.mark.parametrize("processes", [2, 4])
def test_shares_of_processes_are_the_batches_of_one(as_process, processes):
    whole = batches(3, batch_size=8)
    shares = []
    for rank in range(processes):
        as_process(rank, processes)
        shares.append(batches(3, batch_size=8))
        assert [len(batch) for batch in shares[-1]] == [8 // processes] * len(whole)
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(draw for part in parts for draw in part) == sorted(batch)


@pytest.mark.parametrize("batch_size", [0, -1, 24])
def test_a_batch_size_that_is_impossible(batch_size):
    with pytest.raises(UsageError) as error:
        EpochBatches(23, batch_size)
    assert error.value.got == str(batch_size)
    assert "(23)" in error.value.expected
    assert len(EpochBatches(23, 23)) == 1


def test_a_batch_that_processes_cannot_share(as_process):
    as_process(0, 2)
    with pytest.raises(UsageError, match="7 for 2 processes"):
        EpochBatches(23, 7)


class Draws(torch.utils.data.Dataset):
    def __getitem__(self, draw):
        return draw


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("begin", [0, 2])
def test_an_engine_gets_each_epoch_its_own_draws(new_loader, num_workers, begin):
    """Workers fetch ahead, but never over the end of an epoch; a resumed training goes on in order."""
    sampler = EpochBatches(23, 4)
    loader = new_loader(Draws(), sampler, num_workers)
    drawn = []
    engine = Engine(lambda engine, batch: drawn.append((engine.state.epoch, batch)))
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: sampler.set_epoch(engine.state.epoch))
    engine.state.max_epochs, engine.state.epoch_length = 4, len(loader)
    engine.state.epoch, engine.state.iteration = begin, begin * len(loader)
    engine.run(loader)
    assert drawn == [(epoch, batch) for epoch in range(begin + 1, 5) for batch in batches(epoch)]
