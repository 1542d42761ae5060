"""Options that several commands have, and what is read from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from medseg.errors import UsageError


def add_method(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--method",
        metavar="NAME",
        help="how to segment (default: the task's own); `medseg methods` lists them",
    )


def add_task(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument(
        "task", nargs=nargs, help="what to segment, such as lung_ct; `medseg info` lists all"
    )


def add_weights(command: argparse.ArgumentParser, action: str = "store", more: str = "") -> None:
    command.add_argument(
        "--weights",
        metavar="FILE",
        action=action,
        help="use these weights instead of the method's own: a file, or the output folder of a "
        f"cross-validation (the mean of its networks){more}",
    )
    command.add_argument(
        "--fold",
        type=int,
        metavar="K",
        help="use one network of the cross-validation that --weights names: its number, from 0",
    )


def add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the bundle's configuration; may be repeated",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="where the network runs: auto (default: a GPU if there is one), cpu, cuda or cuda:N",
    )


def add_pixel_spacing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pixel-spacing-mm",
        type=_positive,
        metavar="MM",
        help="size of a pixel, for pictures that do not tell it; without it lengths are in px",
    )


def add_mode(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mode",
        default="semantic",
        metavar="MODE",
        help="what the values in the mask mean. semantic (default): the label, such as 1 for every lesion; "
        "object: the same, of one object: the largest of each label, or the one at a seed; "
        "instance: a number for each object, such as lesion_1 and lesion_2; "
        "panoptic: a number for each object and for each label of which all is one segment",
    )


def add_formats(command: argparse.ArgumentParser) -> None:
    """--formats, and what may be written of a rejected mask."""
    from medseg.formats import FORMATS

    formats = "; ".join(f"{name}: {record.summary}" for name, record in FORMATS.items())
    command.add_argument(
        "--formats",
        type=_listed,
        default=(),
        metavar="A,B",
        help=f"files to write, separated by commas (default: nifti for volumes, png, html). {formats}",
    )
    command.add_argument(
        "--even-rejected",
        action="store_true",
        help="write DICOM SEG, RTSTRUCT and structured report of masks whose predicted Dice is too low, too",
    )


def add_manifest(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--manifest",
        action="append",
        metavar="M",
        help="data manifest (the list of a data set): a path, or the name of a shipped one; may be repeated",
    )


def add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the data sets, from which the manifests' paths start "
        "(default: the environment variable MEDSEG_DATA)",
    )


def use_data(options: argparse.Namespace) -> None:
    """Make the folder that --data names known to whatever reads a manifest, in worker processes too."""
    if options.data is not None:
        os.environ["MEDSEG_DATA"] = options.data


def add_output_dir(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--output_dir", metavar="DIR", help=f"folder for the results (default: {default})")


def overrides_of(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE strings to a dictionary; a value is read as YAML, as in the configuration."""
    import yaml

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError("--set KEY=VALUE", got=pair, advice="Write it with an equals sign.")
        found[key] = _number(yaml.safe_load(value))
    return found


def _number(value: Any) -> Any:
    """1e-3 as the number that it is; YAML 1.1 wants 1.0e-3 and reads this as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def given(options: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that the user gave, by the configuration's key."""
    keys = {**{name: name for name in names}, **renamed}
    return {key: value for key, name in keys.items() if (value := getattr(options, name)) is not None}


def _listed(text: str) -> list[str]:
    """Names separated by commas; spaces and a comma at the end do not count."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of mm; got {text}")
    return value
