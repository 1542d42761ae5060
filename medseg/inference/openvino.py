"""A network computed by OpenVINO on a CPU, in float32.

Converting a network takes seconds, so what comes out is kept in a folder of the user's, under a key of all
that it follows from. OpenVINO reports its use to its makers; here it is kept from that, because a program for
patients' images makes no connection that nobody asked for.
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

FORMAT = "1"  # to be raised when what an entry of the cache holds changes
LARGEST_DIFFERENCE = 1e-3  # of the largest answer; found: 1e-6 with batch norm, 3e-4 with instance norm
_DIGEST_BYTES = 32
_importing = threading.Lock()


class OpenVinoNetwork(torch.nn.Module):
    """Takes a network's place: the same tensor in, the same out, on a CPU.

    May be called from several threads; each gets a request of its own, and OpenVINO shares the cores out.

    Args:
        network: in evaluation.
        example_shape: (B, C, spatial...) of a small input. Batch and spatial sizes may differ later; for each
            shape OpenVINO prepares itself once, which takes some tenths of a second.

    Raises:
        BundleError: OpenVINO can't convert the network, or answers otherwise than torch.
    """

    def __init__(self, network: torch.nn.Module, example_shape: Sequence[int]) -> None:
        super().__init__()
        self._original = (network, example_shape)  # in a tuple torch takes it for no part of this one
        self._compile()
        self.eval()

    def _compile(self) -> None:
        """Of the network with the weights that it has now."""
        network, example_shape = self._original
        self._requests = threading.local()
        core = _core()
        # Without pinning, other work on the machine slows the answer less. All threads work for one answer.
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
        """(B, C, spatial...) float32 on the CPU to the network's answer."""
        from openvino import Tensor

        array = inputs.detach().float().contiguous().numpy()
        request = self._request()
        request.infer([Tensor(array, shared_memory=True)], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights of the network that it was made of."""
        return self._original[0].state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take other weights, as MONAI Deploy does, which loads a bundle's models/model.pt itself."""
        outcome = self._original[0].load_state_dict(state_dict, strict, assign)
        self._compile()
        return outcome

    def _request(self) -> Any:
        """This thread's own."""
        if not hasattr(self._requests, "request"):
            self._requests.request = self._compiled.create_infer_request()
        return self._requests.request


def cache_folder() -> Path:
    """Where converted networks are kept: the user's own folder for what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "medseg" / "openvino"


def _library() -> Any:
    """The module openvino, kept from reporting its import and its conversions.

    Raises:
        BundleError: it is installed, but broken.
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
                    "an OpenVINO that can be imported", got=str(error), advice="Install it again."
                ) from error
            finally:
                if silenced:
                    del sys.modules["openvino_telemetry"]
        import openvino

        return openvino


@cache
def _core() -> Any:
    """The process's only one: OpenVINO has crashed where further ones came and went."""
    return _library().Core()


def _key(core: Any, network: torch.nn.Module, example_shape: Sequence[int]) -> str:
    """SHA-256 of all that a compiled network follows from: weights, structure, versions, processor."""
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
            warnings.simplefilter(
                "ignore"
            )  # torch's: of its own age, and of branches, which are checked below
            traced = torch.jit.trace(network, example.clone(), check_trace=False)
        return openvino.convert_model(traced, input=[-1, example_shape[1], *[-1] * (example.ndim - 2)])
    except Exception as error:  # of torch, of OpenVINO's Python and of its core
        raise BundleError(
            "a network that OpenVINO can compute",
            got=f"{type(network).__name__} ({type(error).__name__}: {str(error)[:300]})",
            advice="Use the backend torch.",
        ) from error


def _require_equal(network: torch.nn.Module, found: torch.nn.Module, example_shape: Sequence[int]) -> None:
    """Compare both at another shape than the one that the network was converted at."""
    shape = (*example_shape[:2], 2 * example_shape[2], *example_shape[3:])
    example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(example)
        difference = float((found(example) - expected).abs().max() / expected.abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise BundleError(
            f"the same answer from torch and OpenVINO, to {LARGEST_DIFFERENCE} of it",
            got=f"a difference of {difference:.2g}",
            advice="Use the backend torch.",
        )


def _cached(core: Any, file: Path, options: dict[str, Any]) -> Any:
    """The compiled network of an earlier run; None if there is none, or if it is damaged."""
    try:
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None
        return core.import_model(io.BytesIO(content[_DIGEST_BYTES:]), "CPU", options)
    except (OSError, RuntimeError):
        return None


def _save(compiled: Any, file: Path) -> None:
    """Keep a compiled network, with its SHA-256 before it; a folder that can't be written is no error."""
    content = compiled.export_model().getvalue()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_path(file) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError as error:
        logger.info("the converted network was not kept: %s", type(error).__name__)
