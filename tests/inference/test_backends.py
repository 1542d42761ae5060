"""OpenVINO computes what torch does, is prepared once, and is refused where it can't be had."""

import concurrent.futures
import copy
import subprocess
import sys

import pytest
import torch
from monai.networks.nets import UNet

from medseg.errors import BundleError, UsageError
from medseg.inference import accelerate, backends, openvino

pytestmark = pytest.mark.seconds

EXAMPLE = (1, 1, 16, 16, 16)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = UNet(3, 1, 4, channels=(4, 8), strides=(2,), num_res_units=1, norm="batch")
    network.train()(torch.rand(2, *EXAMPLE[1:]))  # for batch statistics other than 0 and 1
    return network.eval()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The test's own cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "medseg" / "openvino"


@pytest.fixture
def never_again(monkeypatch):
    """From here on nothing may be converted."""

    def refuse(*arguments):
        raise AssertionError("converted again")

    return lambda: monkeypatch.setattr(openvino, "_converted", refuse)


@pytest.fixture
def absent(monkeypatch):
    """As if OpenVINO were not installed."""
    monkeypatch.setattr(backends, "find_spec", lambda name: None)


def is_openvino(network):
    return isinstance(network, openvino.OpenVinoNetwork)


class TestAnswers:
    @pytest.mark.parametrize("shape", [EXAMPLE, (1, 1, 32, 16, 48), (3, 1, 16, 32, 16)])
    def test_as_torch(self, network, shape):
        fast = accelerate(network, EXAMPLE, "openvino")
        image = torch.rand(shape)
        with torch.inference_mode():
            torch.testing.assert_close(fast(image), network(image), rtol=1e-4, atol=1e-5)

    def test_strided_and_whole_numbers(self, network):
        fast = accelerate(network, EXAMPLE)
        image = torch.randint(0, 3, (1, 1, 16, 32, 16)).permute(0, 1, 4, 2, 3)
        with torch.inference_mode():
            torch.testing.assert_close(fast(image), network(image.float()), rtol=1e-4, atol=1e-5)

    def test_one_answer_does_not_overwrite_another(self, network):
        fast = accelerate(network, EXAMPLE)
        first = fast(torch.zeros(EXAMPLE))
        before = first.clone()
        fast(torch.ones(EXAMPLE))
        assert torch.equal(first, before)

    def test_from_several_threads(self, network):
        fast = accelerate(network, EXAMPLE)
        images = [torch.rand(1, 1, 16, 16, 16 + 16 * (number % 2)) for number in range(12)]
        expected = [fast(image) for image in images]
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            found = list(threads.map(fast, images))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)

    def test_other_weights(self, network):
        """As MONAI Deploy loads them, strictly."""
        fast = accelerate(copy.deepcopy(network), EXAMPLE, "openvino")
        others = {name: value * 2 for name, value in network.state_dict().items()}
        other, image = copy.deepcopy(network), torch.rand(EXAMPLE)
        other.load_state_dict(others)
        before = fast(image)
        fast.load_state_dict(others, strict=True)
        assert all(torch.equal(value, others[name]) for name, value in fast.state_dict().items())
        with torch.inference_mode():
            torch.testing.assert_close(fast(image), other(image), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(fast(image), before)
        with pytest.raises(RuntimeError, match="Missing key"):
            fast.load_state_dict({}, strict=True)

    def test_a_network_that_another_shape_changes_is_not_computed(self, caplog):
        class Shaped(torch.nn.Module):
            def forward(self, image):
                return image * (1 if image.shape[2] == 16 else 2)

        with pytest.raises(BundleError, match="outputs of OpenVINO that differ"):
            accelerate(Shaped(), EXAMPLE, "openvino")
        assert isinstance(accelerate(Shaped(), EXAMPLE, "auto"), Shaped)
        assert "torch computes the network" in caplog.text

    def test_a_network_that_cannot_be_converted(self):
        class Odd(torch.nn.Module):
            def forward(self, image):
                raise RuntimeError("not here")

        with pytest.raises(BundleError, match=r"Odd .*not here.*Use the backend torch"):
            accelerate(Odd(), EXAMPLE, "openvino")

    def test_the_answer_that_is_compared_is_kept_only_if_right(self, cache):
        class Shaped(torch.nn.Module):
            def forward(self, image):
                return image * (1 if image.shape[2] == 16 else 2)

        accelerate(Shaped(), EXAMPLE, "auto")
        assert not cache.exists()


class TestCache:
    def test_converted_once(self, network, cache, never_again):
        first = accelerate(network, EXAMPLE)
        assert len(list(cache.iterdir())) == 1
        never_again()
        second = accelerate(network, EXAMPLE)
        image = torch.rand(EXAMPLE)
        assert torch.equal(second(image), first(image))

    def test_other_weights_are_another_entry(self, network, cache):
        other = copy.deepcopy(network)
        with torch.no_grad():
            next(other.parameters()).mul_(2)
        image = torch.rand(EXAMPLE)
        answers = [accelerate(each, EXAMPLE)(image) for each in (network, other)]
        assert not torch.allclose(*answers)
        assert len(list(cache.iterdir())) == 2

    @pytest.mark.parametrize("damage", [lambda content: content[:1000], lambda content: b"", bytes.upper])
    def test_a_damaged_entry_is_made_again(self, network, cache, never_again, damage):
        accelerate(network, EXAMPLE)
        (entry,) = cache.iterdir()
        whole = entry.read_bytes()
        entry.write_bytes(damage(whole))
        image = torch.rand(EXAMPLE)
        with torch.inference_mode():
            torch.testing.assert_close(
                accelerate(network, EXAMPLE)(image), network(image), rtol=1e-4, atol=1e-5
            )
        assert [path.name for path in cache.iterdir()] == [entry.name]
        never_again()
        accelerate(network, EXAMPLE)

    def test_a_folder_that_cannot_be_made_is_no_error(self, network, cache):
        cache.parent.write_text("a file in its place")
        assert is_openvino(accelerate(network, EXAMPLE, "openvino"))


class TestChoice:
    def test_auto_takes_openvino_on_a_cpu(self, network):
        assert is_openvino(accelerate(network, EXAMPLE))
        assert backends.choose("auto", torch.device("cuda")) == "torch"

    def test_torch(self, network):
        fast = accelerate(network, EXAMPLE, "torch")
        image = torch.rand(EXAMPLE)
        assert not is_openvino(fast)
        torch.testing.assert_close(fast(image), network(image))

    @pytest.mark.usefixtures("absent")
    def test_not_installed(self, network):
        assert accelerate(network, EXAMPLE, "auto") is network
        with pytest.raises(UsageError, match=r"pip install 'medseg\[openvino\]'"):
            accelerate(network, EXAMPLE, "openvino")

    @pytest.mark.parametrize(
        ("backend", "device", "message"),
        [("openvino", "cuda", "a CPU"), ("opnvino", "cpu", "Did you mean openvino"), ("tpu", "cpu", "auto")],
    )
    def test_refused(self, network, backend, device, message):
        with pytest.raises(UsageError, match=message):
            accelerate(network, EXAMPLE, backend, device)


@pytest.mark.slow
@pytest.mark.seconds
def test_nothing_is_reported_to_its_makers(tmp_path):
    """The module that would do it is not even loaded, and can still be by others."""
    program = (
        "import sys; from medseg.inference.openvino import _library; _library();"
        "assert 'openvino_telemetry' not in sys.modules;"
        "from openvino.tools.ovc import telemetry_utils;"
        "assert telemetry_utils.tm.__name__.endswith('telemetry_stub')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"HOME": str(tmp_path), "PATH": ""})
    assert not (tmp_path / "intel").exists()
