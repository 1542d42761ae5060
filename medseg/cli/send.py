"""medseg send"""

from __future__ import annotations

import argparse
import sys

from medseg.cli.archive_options import add_archive, archive_of
from medseg.cli.exits import EXIT_DONE

HELP = "send DICOM files to an archive, by DICOMweb or DIMSE"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path",
        nargs="+",
        metavar="PATH",
        help="a DICOM file; or a folder, whose DICOM files are meant, such as OUT/<case>",
    )
    add_archive(command, "--to")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    archive = archive_of(options)
    from medseg.archive import send

    sent = send([Path(path) for path in options.path], archive)
    for warning in sent.warnings:
        print(f"{warning} ({archive} stored it)", file=sys.stderr)
    print(f"{sent.count} {'file' if sent.count == 1 else 'files'} stored in {archive}")
    return EXIT_DONE
