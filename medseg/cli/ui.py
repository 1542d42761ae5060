"""medseg ui"""

from __future__ import annotations

import argparse
import os
import sys

from medseg.cli.exits import EXIT_DONE

HELP = "serve MLflow's web page with the training runs, on this computer"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--port", type=int, default=5000, metavar="N", help="of the web page (default: 5000)"
    )


def run(options: argparse.Namespace) -> int:
    from medseg.tracking.store import without_password
    from medseg.tracking.tracker import experiment_pages, mark_killed_runs, tracking_uri

    mark_killed_runs()
    uri = tracking_uri()
    is_server = uri.startswith(("http://", "https://"))
    address = without_password(uri) if is_server else f"http://127.0.0.1:{options.port}"
    if is_server:
        print(f"The runs are on a server: open {address} in a browser.")
    for name, page in experiment_pages(address).items():
        print(f"{name}: {page}", flush=True)
    if is_server:
        return EXIT_DONE
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    os.execvp(sys.executable, [*command, "--port", str(options.port)])
