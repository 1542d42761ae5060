"""Checks that any bundle can be put to, by pytest: those of MONAI, and those that medseg relies on.

    from medseg.testing import BundleTests

    class TestMyBundle(BundleTests):
        bundle = "bundles/my_bundle"

Each check is a function too, which raises BundleError and says what to do. A method that is not trained runs
with random weights: the checks are of the parts and how they fit, and say nothing of how good the masks are.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np

from medseg.bundle import (
    Bundle,
    built_from,
    inference_files,
    method_names,
    open_bundle,
    parse,
    read_method,
    sha256,
    training_files,
)
from medseg.errors import BundleError
from medseg.io import nifti, raster
from medseg.outputs import SegmentationResult
from medseg.pipeline import Segmenter

REQUIRED = ("configs/metadata.json", "configs/inference.yaml", "docs/README.md", "LICENSE")
SCHEMA = "monai_schema"  # the folder of MONAI's schemas in MEDSEG_DATA; else they are downloaded
SHAPE_PX, SHAPE, VOXEL_MM = (320, 384), (80, 64, 48), 4.0  # of synthetic images
LIST_POSITION = re.compile(r"(::|#)\s*-?\d")
# What a step of training has and the same step of inference need not have.
OF_TRAINING = {"label_keys", "labels", "source_key"}


class BundleTests:
    """The checks as tests; a subclass names the bundle.

    Attributes:
        bundle: the name of a task, or the path of a bundle.
        network_method: the method whose network is checked; None for the default.
        train_overrides: keys of train.yaml, such as manifests of small data, for MONAI's check of it.
    """

    bundle: ClassVar[str]
    network_method: ClassVar[str | None] = None
    train_overrides: ClassVar[Mapping[str, Any]] = {}

    def opened(self) -> Bundle:
        return open_bundle(self.bundle)

    def example(self, folder: Path) -> Path:
        """An image that the task takes; by default a synthetic one of the declared format."""
        return synthetic_image(self.opened(), folder)

    def test_files(self):
        check_files(self.opened())

    def test_metadata(self):
        check_metadata(self.opened())

    def test_configurations(self):
        check_configurations(self.opened())

    def test_methods(self):
        check_methods(self.opened())

    def test_weights(self):
        check_weights(self.opened())

    def test_training_agrees_with_inference(self):
        check_agreement(self.opened())

    def test_network(self):
        check_network(self.opened(), self.network_method)

    def test_inference_workflow(self, tmp_path):
        overrides = {"input": str(self.example(tmp_path)), "output_dir": str(tmp_path)}
        check_workflow(self.opened(), "infer", overrides | weights_to_run(self.opened(), tmp_path))

    def test_training_workflow(self, tmp_path):
        check_workflow(self.opened(), "train", {"output_dir": str(tmp_path), **self.train_overrides})

    def test_segments(self, tmp_path):
        check_result(self.opened(), self.example(tmp_path), tmp_path / "out")


def check_files(bundle: Bundle) -> None:
    """The bundle has the files of a bundle, and no Python code."""
    missing = [name for name in REQUIRED if not (bundle.root / name).is_file()]
    if missing:
        raise BundleError(
            f"the files {', '.join(REQUIRED)}", got=f"none of {', '.join(missing)}", advice="Add them."
        )
    code = [str(file.relative_to(bundle.root)) for file in bundle.root.rglob("*.py")]
    if code:
        raise BundleError(
            "a bundle of configuration alone",
            got=", ".join(code),
            advice="Put the code into a package: a bundle is read before it is trusted.",
        )


def check_metadata(bundle: Bundle) -> None:
    """MONAI's schema takes metadata.json, its changelog has its version, and its channels are the labels."""
    metadata = bundle.metadata
    _verify(bundle)
    if metadata["version"] not in metadata.get("changelog", {}):
        raise BundleError(
            "a version that the changelog explains",
            got=str(metadata["version"]),
            advice="Add it to `changelog` in metadata.json.",
        )
    channels = metadata["network_data_format"]["outputs"]["pred"].get("channel_def", {})
    labels: Any = parse(bundle, "inference.yaml")["labels"]
    named = {int(value): name for value, name in labels.items()}
    if {int(value): name for value, name in channels.items()} != named:
        raise BundleError(
            f"a channel_def of `pred` that names the labels {named}",
            got=str(channels),
            advice="Correct it in metadata.json: MONAI Label shows it beside each mask.",
        )


def _verify(bundle: Bundle) -> None:
    """MONAI's verify_metadata, with a schema that lies in MEDSEG_DATA or is downloaded."""
    from monai.bundle import verify_metadata

    file = bundle.config("metadata.json")
    name = str(bundle.metadata.get("schema", "")).rpartition("/")[2]
    own = Path(os.environ.get("MEDSEG_DATA", "")) / SCHEMA / name
    with TemporaryDirectory() as folder:
        schema = own if own.is_file() else Path(folder) / (name or "schema.json")
        try:
            verify_metadata(meta_file=str(file), filepath=str(schema))
        except OSError as error:  # URLError is one
            raise SkipTest(f"MONAI's schema {name} is not here and can't be downloaded") from error
        except ImportError as error:
            raise SkipTest("jsonschema is not here: pip install 'medseg[export]'") from error
        except Exception as error:
            raise BundleError(
                "metadata that MONAI's schema takes",
                got=" ".join(str(error).split())[:300],
                advice=f"Correct {file}.",
            ) from error


def check_configurations(bundle: Bundle) -> None:
    """Each configuration can be read, refuses misspelt options, and names steps instead of counting them."""
    import yaml

    for file in sorted(bundle.config("").rglob("*.yaml")):
        name = str(file.relative_to(bundle.config("")))
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise BundleError(
                "a configuration in YAML", got=f"{name} ({error})", advice="Correct it."
            ) from error
        if counted := list(positions(content)):
            raise BundleError(
                "steps that are named, so that one that is added does not shift the others",
                got=f"places in a list in {name}: {'; '.join(counted[:3])}",
                advice="Give the steps names, as medseg.transforms.steps takes them.",
            )
        own = isinstance(content, dict) and content.get("initialize")
        if own and "check_arguments(" not in str(own):
            raise BundleError(
                "check_arguments in `initialize`, which refuses misspelt options",
                got=f"{name} without it",
                advice="Add $check_arguments(@bundle_root, [...]): MONAI adds unknown keys and ignores them.",
            )


def positions(value: Any, path: str = "") -> Iterator[str]:
    """What of a configuration addresses an entry of a list by its place: override keys and references."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if LIST_POSITION.search(str(key)):
                yield f"{path}: {key}"
            yield from positions(entry, f"{path}::{key}")
    elif isinstance(value, list):
        for entry in value:
            yield from positions(entry, path)
    elif isinstance(value, str) and LIST_POSITION.search(value):
        yield f"{path}: {value}"


def check_methods(bundle: Bundle) -> None:
    """Each method has a complete declaration, and the parts of its configuration can be built."""
    names = method_names(bundle)
    if not names:
        raise BundleError(
            "a method in configs/methods", got="none", advice="Add a file that declares the default."
        )
    read_method(bundle)  # the default
    for name in names:
        method = read_method(bundle, name)
        parser = parse(bundle, *inference_files(bundle, name))
        if parser["method"] != name:
            raise BundleError(
                f"`method: {name}` in configs/methods/{name}.yaml",
                got=str(parser["method"]),
                advice="Correct it: results say by it how they were made.",
            )
        parser["device"] = "$torch.device('cpu')"
        with built_from(bundle):
            for part in ("labels", "network_def", "preprocessing", "inferer", "postprocessing"):
                parser.get_parsed_content(part)
        if method.weights is None and parser.config.get("weights"):  # type: ignore[union-attr]
            raise BundleError(
                f"`weights: null` for the method {name}, which declares none",
                got=str(parser["weights"]),
                advice="Correct the declaration or the configuration.",
            )


def check_weights(bundle: Bundle) -> None:
    """Weights that are there are the file that the method declares, and have the digest that is pinned."""
    for name in method_names(bundle):
        method = read_method(bundle, name)
        if not method.is_trained or method.weights is None:
            continue
        parser = parse(bundle, *inference_files(bundle, name))
        used = Path(parser.get_parsed_content("weights"))
        digest, pinned = sha256(method.weights), parser["weights_sha256"]
        if used.resolve() != method.weights.resolve() or pinned != digest:
            raise BundleError(
                f"for {name} the weights {method.weights.name} with their SHA-256 {digest}",
                got=f"{used.name}, pinned as {pinned}",
                advice="Write this digest into `weights_sha256`, so that other weights are refused.",
            )


def check_agreement(bundle: Bundle) -> None:
    """A training has the network of its method's inference, and prepares images for it in the same way."""
    if not bundle.config("train.yaml").is_file():
        return
    trained = parse(bundle, "train.yaml")["method"]
    for name in method_names(bundle):
        if name != trained and not bundle.config(f"methods/{name}.train.yaml").is_file():
            continue
        training: Any = parse(bundle, *training_files(bundle, name)).config
        inference: Any = parse(bundle, *inference_files(bundle, name)).config
        if training["network_def"] != inference["network_def"]:
            raise BundleError(
                f"one network_def for {name} in training and inference",
                got=f"{training['network_def']} and {inference['network_def']}",
                advice="Make them equal: the weights of one don't fit the other.",
            )
        own, other = training["validate"]["preprocessing"], inference["preprocessing"]
        for step in own.keys() & other.keys():
            _require_alike_step(step, own[step], other[step])


def _require_alike_step(step: str, own: Any, other: Any) -> None:
    """The same target, and the same arguments, where both are values: references may have other names."""
    if not isinstance(own, dict) or not isinstance(other, dict):
        return
    for key in (own.keys() | other.keys()) - OF_TRAINING:
        one, two = own.get(key), other.get(key)
        if one != two and not any(str(value).startswith(("@", "$")) for value in (one, two)):
            raise BundleError(
                f"the step preprocessing::{step} alike in training and inference",
                got=f"{key}: {one} and {two}",
                advice="Make them equal: the network must see images as it was validated on them.",
            )


def check_network(bundle: Bundle, method: str | None = None) -> None:
    """MONAI's verify_net_in_out: the network takes and gives what metadata.json says."""
    from monai.bundle import verify_net_in_out

    files = [str(bundle.config(name)) for name in inference_files(bundle, method)]
    try:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle.config("metadata.json")),
            config_file=files,
            device="cpu",
        )
    except Exception as error:
        raise BundleError(
            "a network with the inputs and outputs of metadata.json",
            got=" ".join(str(error).split())[:300],
            advice="Correct network_data_format or network_def.",
        ) from error


def check_workflow(bundle: Bundle, kind: str, overrides: Mapping[str, Any]) -> None:
    """MONAI's check_properties of inference.yaml (kind infer) or train.yaml (kind train).

    Raises:
        SkipTest: there is no train.yaml, or its data are not on this machine.
    """
    from monai.bundle import ConfigWorkflow

    file = bundle.config("inference.yaml" if kind == "infer" else "train.yaml")
    if not file.is_file():
        raise SkipTest("the bundle has no train.yaml")
    if kind == "train" and "MEDSEG_DATA" not in os.environ:
        raise SkipTest("MEDSEG_DATA does not name the data of the training")
    parse(bundle, file.name)  # which refuses a bundle that may not run
    handlers = logging.getLogger().handlers[:]
    workflow = ConfigWorkflow(
        workflow_type=kind, config_file=str(file), bundle_root=str(bundle.root), **overrides
    )
    try:
        with built_from(bundle):
            workflow.initialize()
            missing = workflow.check_properties()
    finally:
        logging.getLogger().handlers[:] = handlers
    if missing:
        raise BundleError(
            "the properties of a MONAI workflow",
            got=f"{file.name} without {', '.join(map(str, missing))}",
            advice="Add these keys.",
        )


def check_result(bundle: Bundle, source: Path, output_dir: Path) -> SegmentationResult:
    """The default method gives a mask on the image's grid with declared labels, measurements and a page."""
    with TemporaryDirectory() as folder:
        segmenter = Segmenter(str(bundle.root), "cpu", weights_to_run(bundle, Path(folder)))
        with built_from(bundle):
            result = segmenter(source)
    values = {int(value) for value in np.unique(result.mask.array)}
    shape = result.image.shape[1:]
    if result.mask.array.shape != shape or not values <= set(segmenter.labels):
        raise BundleError(
            f"a mask of the image's size {shape} with the labels {segmenter.labels}",
            got=f"one of {result.mask.array.shape} with the values {sorted(values)}",
            advice="Correct the postprocessing.",
        )
    unitless = [name for name, entry in result.measurements.items() if not entry.get("unit")]
    if unitless:
        raise BundleError("measurements with units", got=", ".join(unitless), advice="Add their units.")
    written = {file.name for file in result.save(output_dir).iterdir()}
    if not {"measurements.json", "report.html", "overlay.png"} <= written:
        raise BundleError("a page, an overlay and a record", got=str(written), advice="Correct `result`.")
    json.loads((output_dir / "measurements.json").read_text(encoding="utf-8"))
    return result


def weights_to_run(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """The overrides by which the default method runs: none, or random weights where it is not trained."""
    import torch

    method = read_method(bundle)
    if method.weights is None or method.is_trained:
        return {}
    parser = parse(bundle, *inference_files(bundle))
    with built_from(bundle):
        network = parser.get_parsed_content("network_def")
    file = folder / "random.pt"
    torch.save(network.state_dict(), file)
    return {"weights": str(file), "weights_sha256": None}


def synthetic_image(bundle: Bundle, folder: Path) -> Path:
    """A file with an image of the format that metadata.json declares: bodies of several brightnesses, noise.

    A volume in Hounsfield units is a body in air.
    """
    declared = bundle.metadata["network_data_format"]["inputs"]["image"]
    volume = len(declared["spatial_shape"]) == 3
    shape = SHAPE if volume else SHAPE_PX
    far = sum(axis**2 for axis in np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    outside, body, inside = (-1000, 40, 120) if declared.get("format") == "hounsfield" else (20, 120, 200)
    values = np.where(far < 0.1, inside, np.where(far < 0.8, body, outside))
    values = values + np.random.default_rng(0).normal(0, 10, shape)
    if volume:
        affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1])
        return nifti.write(values.astype(np.int16), affine, folder / "synthetic.nii.gz")
    grey = np.clip(values, 0, 255).astype(np.uint8)
    pixels = np.stack([grey] * 3, axis=-1) if declared["num_channels"] == 3 else grey
    return raster.write_picture(pixels, folder / "synthetic.png")
