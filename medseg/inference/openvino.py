"""A network computed by OpenVINO on a CPU, in float32.

Converting a network takes seconds, so the compiled network is cached in a folder of the user, under a digest
of everything that it depends on. OpenVINO's telemetry is turned off: a program for patients' images opens no
network connection that the user did not ask for.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medseg.errors import BundleError
from medseg.io.atomic import atomic_path

logger = logging.getLogger(__name__)

FORMAT = "1"  # of a file in the cache; to be raised with each change of it
LARGEST_DIFFERENCE = 1e-3  # of the largest output; measured: 1e-6 with batch norm, 3e-4 with instance norm
_DIGEST_BYTES = 32
_importing = threading.Lock()


class OpenVinoNetwork(torch.nn.Module):
    """A network computed by OpenVINO on a CPU, with the inputs and outputs of the torch network.

    Several threads may call it; each has an inference request of its own, and OpenVINO divides the cores.

    Args:
        network: in evaluation mode.
        example_shape: (B, C, spatial...) of a small input. Batch and spatial sizes may differ later; the
            first input of each shape takes some tenths of a second more.

    Raises:
        BundleError: OpenVINO can't convert the network, or its outputs differ from those of torch.
    """

    def __init__(self, network: torch.nn.Module, example_shape: Sequence[int]) -> None:
        super().__init__()
        self._original = (network, example_shape)  # in a tuple, so that torch registers no submodule
        self._compile()
        self.eval()

    @property
    def original(self) -> torch.nn.Module:
        """The network that torch computes."""
        return self._original[0]

    def _compile(self) -> None:
        """Compile the network with its present weights, or take it from the cache."""
        network, example_shape = self._original
        self._requests = threading.local()
        core = _core()
        # Without pinning, other work on the machine slows inference less. All threads work on one request.
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,
        }
        file = cache_folder() / f"{_key(core, network, example_shape)}.bin"
        self._compiled = _cached(core, file, options)
        if self._compiled is None:
            self._compiled = core.compile_model(_converted(network, example_shape), "CPU", options)
            _require_equal(network, self, example_shape)
            _save(self._compiled, file)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The network's output for (B, C, spatial...) on the CPU; float32."""
        from openvino import Tensor

        array = inputs.detach().float().contiguous().numpy()
        request = self._request()
        request.infer([Tensor(array, shared_memory=True)], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights of the torch network."""
        return self._original[0].state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights and compile again: MONAI Deploy loads a bundle's models/model.pt by itself."""
        outcome = self._original[0].load_state_dict(state_dict, strict, assign)
        self._compile()
        return outcome

    def _request(self) -> Any:
        """The inference request of this thread."""
        if not hasattr(self._requests, "request"):
            self._requests.request = self._compiled.create_infer_request()
        return self._requests.request


def cache_folder() -> Path:
    """The folder of compiled networks, inside the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "medseg" / "openvino"


def _library() -> Any:
    """The module openvino, imported without its telemetry.

    Raises:
        BundleError: it is installed, but can't be imported.
    """
    with _importing:
        if "openvino" not in sys.modules:
            silenced = "openvino_telemetry" not in sys.modules
            if silenced:
                sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
            try:
                import openvino
            except ImportError as error:
                raise BundleError(
                    "an OpenVINO that can be imported", got=f"an error ({error})", advice="Install it again."
                ) from error
            finally:
                if silenced:
                    del sys.modules["openvino_telemetry"]
        import openvino

        return openvino


@cache
def _core() -> Any:
    """The only Core of the process: OpenVINO has crashed where several were created and freed."""
    return _library().Core()


def _key(core: Any, network: torch.nn.Module, example_shape: Sequence[int]) -> str:
    """SHA-256 of all that a compiled network depends on: weights, structure, versions, processor."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    facts = (
        FORMAT,
        repr(network),
        tuple(example_shape),
        _library().get_version(),
        torch.__version__,
        version("monai"),
        core.get_property("CPU", "FULL_DEVICE_NAME"),
        core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    )
    digest.update(repr(facts).encode())
    return digest.hexdigest()


def _converted(network: torch.nn.Module, example_shape: Sequence[int]) -> Any:
    """OpenVINO's model of the network, for any batch and any spatial sizes."""
    openvino = _library()
    example = torch.zeros(tuple(example_shape))
    try:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            # torch warns that tracing is deprecated, and of branches; their outputs are compared below.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, example.clone(), check_trace=False)
        return openvino.convert_model(traced, input=[-1, example_shape[1], *[-1] * (example.ndim - 2)])
    except Exception as error:  # of torch, of OpenVINO's Python and of its core
        raise BundleError(
            "a network that OpenVINO can compute",
            got=f"{type(network).__name__} ({type(error).__name__}: {str(error)[:300]})",
            advice="Use the backend torch.",
        ) from error


def _require_equal(network: torch.nn.Module, found: torch.nn.Module, example_shape: Sequence[int]) -> None:
    """Compare the outputs of both at another shape than the one that was traced."""
    shape = (*example_shape[:2], 2 * example_shape[2], *example_shape[3:])
    example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(example)
        difference = float((found(example) - expected).abs().max() / expected.abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise BundleError(
            f"outputs of OpenVINO that differ from torch's by at most {LARGEST_DIFFERENCE} of the largest",
            got=f"a difference of {difference:.2g} of it",
            advice="Use the backend torch.",
        )


def _cached(core: Any, file: Path, options: dict[str, Any]) -> Any:
    """The compiled network from the cache; None if there is none, or if its file is damaged."""
    try:
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None
        return core.import_model(io.BytesIO(content[_DIGEST_BYTES:]), "CPU", options)
    except (OSError, RuntimeError):
        return None


def _save(compiled: Any, file: Path) -> None:
    """Write a compiled network after its SHA-256; a folder that can't be written is no error."""
    content = compiled.export_model().getvalue()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_path(file) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError as error:
        logger.info("the compiled network was not cached: %s", type(error).__name__)
