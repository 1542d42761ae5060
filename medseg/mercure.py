"""A module of mercure, which routes images in a hospital: one folder in, one out (mercure-imaging.org).

mercure starts a container with the DICOM files of a series or a study and a task.json in MERCURE_IN_DIR,
whose `process.settings` are what a user wrote into the settings of the module or the rule. It sends on the
DICOM files that lie in MERCURE_OUT_DIR directly. It keeps result.json, and shows or mails the text of
`__mercure_notification` in it; always, or only where `requested` is true, as the rule says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.errors import (
    InputError,
    MedsegError,
    UnreadableError,
    UsageError,
    did_you_mean,
    error_text,
    file_error_text,
)
from medseg.formats import ARCHIVED, FORMATS
from medseg.io import dicom
from medseg.io.atomic import atomic_path
from medseg.io.dicom.identity import identity_of

if TYPE_CHECKING:
    from medseg.outputs import SegmentationResult
    from medseg.pipeline import Segmenter

RESULT, TASK = "result.json", "task.json"
DICOM_FORMATS = tuple(name for name, record in FORMATS.items() if record.needs in ARCHIVED)


@dataclass(frozen=True)
class Settings:
    """What a user sets for the module.

    Attributes:
        task, method, device: as of `medseg segment`.
        formats: DICOM formats to write; by default SEG and report of a volume, the report of a picture.
        even_rejected: write them even where the predicted Dice is too low.
    """

    task: str
    method: str | None = None
    device: str = "auto"
    formats: tuple[str, ...] = ()
    even_rejected: bool = False


def run_module(folder: Path, out: Path) -> tuple[int, int]:
    """Segment each series of a folder, write DICOM results and result.json.

    Args:
        folder: MERCURE_IN_DIR.
        out: MERCURE_OUT_DIR; it must exist.

    Returns:
        How many series were segmented, and how many there are.

    Raises:
        UsageError: task.json is missing or wrong.
        UnreadableError: there is no DICOM file.
        OSError: a result can't be written.
    """
    from medseg.pipeline import Segmenter

    try:
        settings = read_settings(folder / TASK)
        images = images_in(folder)
        segmenter = Segmenter(settings.task, settings.device, method=settings.method)
        series = [_segment(segmenter, settings, name, files, out) for name, files in images.items()]
    except (MedsegError, OSError) as error:
        text = file_error_text(error) if isinstance(error, OSError) else str(error)
        _write(out, {"error": text, **_notification(text, requested=True)})
        raise
    _write(out, {"task": settings.task, "series": series, **_notification_of(settings.task, series)})
    return sum("error" not in one for one in series), len(series)


def read_settings(path: Path) -> Settings:
    """The settings in a task.json.

    Raises:
        UsageError: it is missing, no JSON, or a key or a value is wrong.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"a {TASK} of mercure beside the images", got=type(error).__name__, advice="Start it by mercure."
        ) from error
    process = content.get("process") if isinstance(content, dict) else None
    if isinstance(process, list):  # a chain of modules of which this is one
        process = process[0] if len(process) == 1 else None
    found = process.get("settings") if isinstance(process, dict) else None
    if not isinstance(found, dict):
        raise UsageError(
            f"the settings of one module in {TASK}: process, settings",
            got="something else",
            advice='Write {"task": "lung_ct"} into the settings of the module.',
        )
    return _checked(found)


def images_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The images of a folder: the files of each series, and each ultrasound picture by itself.

    Returns:
        A name that tells nothing, made of the UIDs, to the files.

    Raises:
        UnreadableError: there is no DICOM file.
    """
    series: dict[str, list[Path]] = {}
    for path in sorted(dicom.dicom_files(folder)):
        try:
            series.setdefault(identity_of(path).series, []).append(path)
        except UnreadableError:
            continue  # a DICOMDIR, or a damaged file; the series is checked for gaps
    if not series:
        raise UnreadableError(
            "DICOM files", got="none in MERCURE_IN_DIR", advice="Check the rule in mercure."
        )
    found: dict[str, tuple[Path, ...]] = {}
    for uid, files in series.items():
        if pictures := dicom.pictures_among(files):
            found.update({_name(identity_of(path).instance): (path,) for path in pictures})
        else:
            found[_name(uid)] = tuple(files)
    return found


def _segment(
    segmenter: Segmenter, settings: Settings, name: str, files: tuple[Path, ...], out: Path
) -> dict[str, Any]:
    """Segment one series; what result.json says of it."""
    source = files if len(files) > 1 else files[0]
    try:
        result = segmenter(source)
        written = _save(result, settings, name, out)
    except OSError:
        raise  # a full or broken disk: the next series would fail too
    except Exception as error:
        return {"name": name, "error": error_text(error), "is_refused": isinstance(error, InputError)}
    return {
        "name": name,
        "files": written,
        "verdict": result.quality["verdict"],
        "quality": result.quality,
        "measurements": result.measurements,
        "warnings": list(result.warnings),
        "provenance": result.provenance,
    }


def _save(result: SegmentationResult, settings: Settings, name: str, out: Path) -> list[str]:
    """Write the DICOM files of a result directly into a folder; their names."""
    usual = ("dicom-sr",) if result.mask.affine is None else ("dicom-seg", "dicom-sr")
    with tempfile.TemporaryDirectory(dir=out, prefix=".medseg-") as stage:
        folder = result.save(Path(stage, "case"), settings.formats or usual, settings.even_rejected)
        written = []
        for path in sorted(folder.glob("*.dcm")):
            target = out / f"{settings.task}-{name}-{path.name}"
            shutil.move(path, target)
            written.append(target.name)
    return written


def _checked(found: Mapping[str, Any]) -> Settings:
    kinds: dict[str, Any] = {"task": str, "method": str, "device": str, "even_rejected": bool}
    kinds["formats"] = (str, list)
    for key, value in found.items():
        if key not in kinds:
            raise UsageError("a setting of the module", got=key, advice=did_you_mean(key, kinds))
        if not isinstance(value, kinds[key]) and not (value is None and key == "method"):
            raise UsageError(
                f"another value of the setting {key}",
                got=type(value).__name__,
                advice="See docs/how-to/archive.md.",
            )
    if "task" not in found:
        raise UsageError("the setting task", got="none", advice='Write {"task": "lung_ct"}.')
    formats = found.get("formats") or ()
    names = [name.strip() for name in (formats.split(",") if isinstance(formats, str) else map(str, formats))]
    for name in names:
        if name not in DICOM_FORMATS:
            raise UsageError("a DICOM format", got=name, advice=did_you_mean(name, DICOM_FORMATS))
    return Settings(**{**found, "formats": tuple(names)})


def _notification_of(task: str, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line for each series; requested where one is not simply good, or none could be segmented."""
    done = [one for one in series if "error" not in one]
    failed = [one for one in series if "error" in one and not one["is_refused"]]
    lines = [f"{task}: {len(done)} of {len(series)} series segmented"]
    for one in done:
        reasons = "; ".join(one["quality"].get("reasons", ()))
        lines.append(f"{one['name']}: {one['verdict']}{f' ({reasons})' if reasons else ''}")
    # In a study, localizers and reports are refused, and nobody needs to know.
    lines += [f"{one['name']}: {one['error']}" for one in (failed if done else series)]
    return _notification(
        "\n".join(lines), bool(failed) or not done or any(o["verdict"] != "pass" for o in done)
    )


def _notification(text: str, requested: bool) -> dict[str, Any]:
    return {"__mercure_notification": {"text": text, "requested": requested}}


def _write(out: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(out / RESULT) as path:
        path.write_text(json.dumps(content, indent=1, allow_nan=False))


def _name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
