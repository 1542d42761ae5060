"""Which archive `medseg fetch` and `medseg send` speak to."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.errors import MedsegError, UsageError, did_you_mean

if TYPE_CHECKING:
    from medseg.archive import Archive

TOKEN = "MEDSEG_ARCHIVE_TOKEN"


def add_archive(command: argparse.ArgumentParser, option: str) -> None:
    """Add --from or --to, and what belongs to it."""
    command.add_argument(
        option,
        dest="archive",
        required=True,
        metavar="ADDRESS",
        help="the archive: https://HOST/PATH for DICOMweb, dicom://AE_TITLE@HOST:PORT for DIMSE, "
        "or a name among the archives of --config",
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="a YAML file with `archives`, such as the node.yaml of `medseg serve`",
    )
    command.add_argument(
        "--calling", metavar="AE_TITLE", help="medseg's own AE title, of DIMSE (default: MEDSEG)"
    )
    command.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"a file with the bearer token of DICOMweb (default: the environment variable {TOKEN})",
    )


def archive_of(options: argparse.Namespace, **more: Any) -> Archive:
    """The archive that the options name; `more` are further attributes of an address, without Nones.

    Raises:
        UsageError: no archive has that name, or an option doesn't belong to its kind.
        MedsegError: the extra that speaks to archives is not installed.
    """
    _require_extra()
    from medseg.archive.address import archive_at, unencrypted

    settings = {
        key: value for key, value in {"calling": options.calling, **more}.items() if value is not None
    }
    if "://" not in options.archive:
        if settings or options.token_file:
            raise UsageError(
                "an address with --calling, --receive-port or --token-file",
                got=f"the name {options.archive}",
                advice="Write them into its record in the file.",
            )
        return _named(options.archive, options.config)
    is_web = not options.archive.startswith("dicom:")
    if settings and is_web:
        raise UsageError(
            "--calling and --receive-port with dicom://", got="them with DICOMweb", advice="Leave them out."
        )
    if options.token_file and not is_web:
        raise UsageError("--token-file with DICOMweb", got="it with dicom://", advice="Leave it out.")
    if options.token_file:
        settings["token_file"] = Path(options.token_file)
    found = archive_at(options.archive, token=(os.environ.get(TOKEN) or None) if is_web else None, **settings)
    if warning := unencrypted(found):
        print(f"medseg: warning: {warning}", file=sys.stderr)
    return found


def _named(name: str, config: str | None) -> Archive:
    if config is None:
        raise UsageError(
            "an address with :// or, with --config, a name",
            got=name,
            advice="Write https://HOST/PATH or dicom://AE_TITLE@HOST:PORT, or name the file.",
        )
    archives = _archives_in(Path(config))
    if name not in archives:
        advice = did_you_mean(name, archives) if archives else "Add it to `archives`."
        raise UsageError(f"an archive of {config}", got=name, advice=advice)
    return archives[name]


def _archives_in(path: Path) -> dict[str, Archive]:
    import yaml

    from medseg.archive.address import archives_from

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(
            "a YAML file with `archives`", got=f"{path} ({type(error).__name__})", advice="Check it."
        ) from error
    content = content if isinstance(content, dict) else {}
    node = content.get("dicom")
    own = node.get("ae_title") if isinstance(node, dict) else None
    return archives_from(content.get("archives") or {}, path.parent, own)


def _require_extra() -> None:
    from importlib.util import find_spec

    if not find_spec("httpx") or not find_spec("pynetdicom"):
        raise MedsegError(
            "the libraries that speak to archives",
            got="an installation without",
            advice="Run pip install 'medseg[archive]'.",
        )
