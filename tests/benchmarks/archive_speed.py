"""Seconds to send and to fetch a CT of 200 slices of 512 x 512, by each service of Orthanc on this machine.

python tests/benchmarks/archive_speed.py
"""

import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import dicom_writer
from orthanc_server import OrthancServer

from medseg.archive import archive_at, fetch, send

SLICES, SIZE = 200, 512


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, OrthancServer({"MEDSEG": port}) as orthanc:
        noise = np.random.default_rng(0).integers(-1000, 400, (SLICES, SIZE, SIZE), dtype=np.int16)
        study = dicom_writer.save(Path(folder, "study"), dicom_writer.ct_slices(noise))
        dimse = f"dicom://ORTHANC@127.0.0.1:{orthanc.dicom_port}"
        ways = {
            "STOW-RS": (send, archive_at(orthanc.dicomweb_url)),
            "C-STORE": (send, archive_at(dimse)),
            "WADO-RS": (fetch, archive_at(orthanc.dicomweb_url)),
            "C-GET": (fetch, archive_at(dimse)),
            "C-MOVE": (fetch, archive_at(dimse, receive_port=port)),
        }
        megabytes = sum(path.stat().st_size for path in study.iterdir()) / 1e6
        print(f"{megabytes:.0f} MB, load {os.getloadavg()[0]:.1f}")
        for name, (action, archive) in ways.items():
            began = time.monotonic()
            if action is send:
                send([study], archive)
            else:
                fetch("1.2.3", archive, Path(folder, "out"))
            print(f"{name}: {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
