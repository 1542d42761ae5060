"""medseg fetch"""

from __future__ import annotations

import argparse

from medseg.cli.archive_options import add_archive, archive_of
from medseg.cli.exits import EXIT_DONE

HELP = "fetch a study from an archive, by DICOMweb or DIMSE, whole or not at all"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", metavar="STUDY_UID", help="the StudyInstanceUID (0020,000D)")
    add_archive(command, "--from")
    command.add_argument(
        "--series", metavar="UID", help="this series alone, by its SeriesInstanceUID (0020,000E)"
    )
    command.add_argument(
        "--receive-port",
        type=int,
        metavar="PORT",
        help="of DIMSE: receive by C-MOVE at this port of this machine, which the archive has to know "
        "(default: C-GET, which needs none)",
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for the study, in a folder of its own"
    )


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from medseg.io.atomic import require_folder

    archive = archive_of(options, receive_port=options.receive_port)
    require_folder(options.output)
    from medseg.archive import fetch

    found = fetch(options.study, archive, Path(options.output), series=options.series)
    print(found.folder)
    return EXIT_DONE
