"""A device that isn't there is refused."""

import pytest
import torch

from medseg.errors import UsageError
from medseg.inference import pick_device


class TestPickDevice:
    @pytest.fixture
    def gpus(self, monkeypatch):
        def have(count):
            monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

        return have

    @pytest.mark.parametrize(
        ("count", "name", "device"),
        [
            (0, "auto", "cpu"),
            (2, "auto", "cuda"),
            (0, "cpu", "cpu"),
            (2, "cpu", "cpu"),
            (2, "cuda", "cuda"),
            (2, "cuda:1", "cuda:1"),
        ],
    )
    def test_known(self, gpus, count, name, device):
        gpus(count)
        assert pick_device(name) == torch.device(device)

    @pytest.mark.parametrize(
        ("count", "name", "match"),
        [
            (0, "cuda", "got 0 GPUs that torch can use. Use --device cpu"),
            (0, "cuda:0", "got 0 GPUs"),
            (2, "cuda:2", "a GPU that torch can use as cuda:2; got 2 GPUs"),
            (2, "cuda:x", "got cuda:x"),
            (2, "cuda:", "got cuda:"),
            (2, "cpu:banana", "got cpu:banana"),
            (2, "cdua", "Did you mean cuda"),
            (2, "tpu", r"a device \(auto, cpu, cuda or cuda:N\); got tpu"),
            (2, "", "a device"),
        ],
    )
    def test_refused(self, gpus, count, name, match):
        gpus(count)
        with pytest.raises(UsageError, match=match) as caught:
            pick_device(name)
        assert caught.value.exit_code == 2
