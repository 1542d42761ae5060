"""A checkpoint gives back everything, runs nothing, and is whole however the process ends."""

import multiprocessing
import os
import pickle
import random
import resource
import signal
import time

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from monai.optimizers import WarmupCosineSchedule

from medseg.errors import MedsegError, UsageError, WeightsError
from medseg.training import checkpoint

KILLS = 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models" / checkpoint.NAME


class Training:
    """A network with batch normalisation and dropout, and all else that has a state."""

    def __init__(self):
        torch.manual_seed(0)
        options = {"channels": (4, 8), "strides": (1,), "num_res_units": 1, "norm": "batch", "dropout": 0.2}
        self.network = UNet(spatial_dims=2, in_channels=1, out_channels=1, **options)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)
        self.lr_scheduler = WarmupCosineSchedule(self.optimizer, 2, 20, warmup_multiplier=0.1)
        # Grows in every second step, so it has a count to restore too.
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)

    def content(self):
        parts = {name: getattr(self, name) for name in ("network", "optimizer", "lr_scheduler", "scaler")}
        return {**parts, "generators": checkpoint.generators(), "standing": {"epoch": 3, "best": -np.inf}}

    def restore(self, saved):
        for name in ("network", "optimizer", "lr_scheduler", "scaler"):
            getattr(self, name).load_state_dict(saved[name])
        checkpoint.restore_generators(saved["generators"])

    def steps(self, count):
        """Losses, learning rates and scales; images come from the global generators."""
        for _ in range(count):
            noise = np.random.rand() + random.random()  # noqa: NPY002
            loss = (self.network(torch.randn(2, 1, 8, 8)) - noise).square().mean()
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.lr_scheduler.step()
            yield float(loss.detach()), self.optimizer.param_groups[0]["lr"], self.scaler.get_scale()


@pytest.fixture
def seeds():
    state = checkpoint.generators()
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    yield
    checkpoint.restore_generators(state)


def numbers():
    """Of every global generator, with what they keep for the next normal number."""
    return (
        random.random(), random.gauss(0, 1), np.random.rand(), np.random.standard_normal(),  # noqa: NPY002
        torch.rand(3).tolist(), torch.randn(3).tolist(),
    )  # fmt: skip


# --- what comes back ---


@pytest.mark.usefixtures("seeds")
def test_a_training_goes_on_as_if_nothing_had_been(path):
    first = Training()
    list(first.steps(3))
    checkpoint.save(path, first.content())
    expected = list(first.steps(5))
    assert len({loss for loss, _, _ in expected}) == len({rate for _, rate, _ in expected}) == 5
    assert expected[0][2] != expected[-1][2] > 8

    second = Training()
    list(second.steps(1))
    saved = checkpoint.load(path)
    assert saved["standing"] == {"epoch": 3, "best": -np.inf}
    second.restore(saved)
    assert list(second.steps(5)) == expected
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], tensor), name


@pytest.mark.usefixtures("seeds")
def test_generators_give_the_same_numbers_again(path):
    numbers()  # half of a pair of normal numbers is waiting now
    checkpoint.save(path, {"generators": checkpoint.generators()})
    expected = [numbers() for _ in range(400)]  # beyond one block of the Mersenne twister
    assert expected[0] != expected[1]
    checkpoint.restore_generators(checkpoint.load(path)["generators"])
    assert [numbers() for _ in range(400)] == expected


@pytest.mark.usefixtures("seeds")
@pytest.mark.parametrize("count", [0, 2])
def test_generators_of_other_gpus_are_left_alone(monkeypatch, count):
    """A training may go on where there are more GPUs, fewer or none."""
    set_state = []
    state = {**checkpoint.generators(), "cuda": [torch.get_rng_state()]}
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", set_state.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    checkpoint.restore_generators(state)
    assert not set_state
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    checkpoint.restore_generators(state)
    assert set_state == [state["cuda"]]


def test_tensors_on_any_device_come_back_on_the_cpu(path):
    checkpoint.save(path, {"a": torch.ones(2, dtype=torch.bfloat16), "none": None})
    saved = checkpoint.load(path)
    assert saved["a"].device.type == "cpu"
    assert saved["a"].dtype is torch.bfloat16
    assert saved["none"] is None


# --- files ---


class Foreign:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['FOREIGN']}",)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_foreign_object_is_refused_and_not_run(path, tmp_path, monkeypatch, write):
    monkeypatch.setenv("FOREIGN", str(tmp_path / "ran"))
    path.parent.mkdir()
    write({"standing": Foreign()}, path)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt \(UnpicklingError\)"):
        checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file(path, share):
    checkpoint.save(path, {"a": torch.arange(10_000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match="a checkpoint that can be read") as error:
        checkpoint.load(path)
    assert str(path.parent) not in error.value.got


def test_a_missing_file(path):
    with pytest.raises(WeightsError, match="FileNotFoundError"):
        checkpoint.load(path)


def save_for_ever(path, first, saved_one):
    """Each checkpoint holds its number 300 000 times."""
    torch.set_num_threads(1)  # a fork has none of its parent's OpenMP threads, and would wait for them
    for number in range(first, first + 10**6):
        checkpoint.save(path, {"number": number, "tensor": torch.full((300_000,), number)})
        saved_one.set()


@pytest.mark.seconds
def test_kill_9_at_any_moment(path):
    context, generator = multiprocessing.get_context("fork"), random.Random(0)
    for kill in range(KILLS):
        saved_one = context.Event()
        process = context.Process(target=save_for_ever, args=(path, kill * 10**6, saved_one))
        process.start()
        assert saved_one.wait(60)
        time.sleep(0.03 * generator.random())  # into one of the next
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        saved = checkpoint.load(path)
        assert saved["number"] // 10**6 == kill
        assert saved["tensor"].unique().tolist() == [saved["number"]]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_earlier_one(path, monkeypatch, error):
    def half(content, file):
        file.write(b"half")
        raise error("broken on purpose")

    checkpoint.save(path, {"number": 1})
    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(MedsegError if error is RuntimeError else error, match="broken on purpose"):
        checkpoint.save(path, {"number": 2})
    assert checkpoint.load(path) == {"number": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk(path):
    checkpoint.save(path, {"number": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(MedsegError, match="a checkpoint that can be written") as error:
            checkpoint.save(path, {"tensor": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "--resume" in error.value.advice
    assert checkpoint.load(path) == {"number": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_a_file(path):
    path.parent.write_text("")
    with pytest.raises(MedsegError, match="a checkpoint that can be written"):
        checkpoint.save(path, {"number": 1})


def test_equal_content_is_an_equal_file(path, tmp_path):
    """The weights' SHA-256 tells whether two trainings ended alike."""
    for file in (path, tmp_path / "other.pt"):
        checkpoint.save(file, {"tensor": torch.arange(100), "number": 1})
    assert path.read_bytes() == (tmp_path / "other.pt").read_bytes()


# --- parameters ---


def test_the_same_parameters_may_go_on():
    saved = {"epochs": "10", "device": "cuda", "num_workers": "1"}
    checkpoint.require_same(saved, saved)
    checkpoint.require_same(saved, {"epochs": "10", "device": "cpu", "num_workers": "4"})
    checkpoint.require_same(saved, {"epochs": "10"})


def test_other_parameters_are_listed():
    with pytest.raises(UsageError) as error:
        checkpoint.require_same(
            {"epochs": "10", "seed": "7", "old": "1", "device": "cpu"},
            {"epochs": "20", "seed": "7", "new": "2", "device": "cuda"},
        )
    assert error.value.got == (
        "3 that differ: epochs 10 then, 20 now; new None then, 2 now; old 1 then, None now"
    )


def test_of_many_parameters_some_are_listed():
    with pytest.raises(UsageError) as error:
        checkpoint.require_same({}, {f"name{number}": "1" for number in range(9)})
    assert error.value.got.startswith("9 that differ: name0 None then, 1 now;")
    assert error.value.got.count("then") == 5
