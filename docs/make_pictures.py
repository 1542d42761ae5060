"""Make the pictures of the README and of the site: `make pictures`.

From scikit-image's fundus photograph, and phantoms of chest CT, ultrasound and fundus. The screenshots
need Chromium, but no network: nothing but 127.0.0.1 is resolved.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import skimage
from ladder_pictures import make_ladder
from PIL import Image

import medseg
from medseg import phantoms

PICTURES = Path(__file__).parent / "pictures"
JPEG_QUALITY = 85
PORT = 5177
# Two trainings of half a minute each: long enough for curves, far too short for a useful network.
EPOCHS = 12
LEARNING_RATES = (0.004, 0.001)
SMALL = {
    "field_diameter_px": 256,
    "patch_px": 128,
    "patches_per_image": 4,
    "num_workers": 0,
    "val_interval": 2,
}
ASSISTANT_PX = 365  # MLflow's page ends with a panel for a language model, which is cut off


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make_results(Path(folder))
        make_ladder(PICTURES, Path(folder))
        make_comparison(Path(folder))


def make_results(folder: Path) -> None:
    """The overlay of each task, and the upper part of a report page."""
    sources = {
        "retinal_vessel": Path(skimage.__file__).parent / "data" / "retina.jpg",
        "lung_ct": phantoms.example_ct(folder),
        "breast_ultrasound": phantoms.example_ultrasound(folder),
    }
    for task, source in sources.items():
        medseg.segment(source, task=task, device="cpu").save(folder / task)
        save(Image.open(folder / task / "overlay.png"), f"{task}_overlay.jpg", width=900)
    page = (folder / "lung_ct" / "report.html").as_uri()
    save(screenshot(page, folder, width=1100, height=1000), "lung_ct_report.jpg", width=900)


def make_comparison(folder: Path) -> None:
    """MLflow's compare page of two trainings on phantoms."""
    manifest = write_phantom_data(folder)
    environment = {
        **os.environ,
        "MEDSEG_DATA": str(manifest.parent),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    for rate in LEARNING_RATES:
        settings = {**SMALL, "learning_rate": rate, "run_name": f"phantoms, learning rate {rate}"}
        pairs = [f"--set={key}={value}" for key, value in settings.items()]
        command = ["train", "retinal_vessel", "--manifest", str(manifest), "--epochs", str(EPOCHS)]
        output = ["--output_dir", str(folder / f"run_{rate}")]
        run_medseg(*command, *output, *pairs, environment=environment, folder=folder).wait()
    server = run_medseg("ui", "--port", str(PORT), environment=environment, folder=folder)
    try:
        wait_for(f"http://127.0.0.1:{PORT}/health", server)
        address = comparison_address(folder)
        picture = screenshot(address, folder, width=1400, height=1120, milliseconds=20000)
    finally:
        server.terminate()
        server.wait()
    save(picture.crop((0, 0, picture.width - ASSISTANT_PX, picture.height)), "mlflow_compare.jpg", width=1000)


def write_phantom_data(folder: Path) -> Path:
    """Six synthetic fundus photographs with exact masks, and their manifest."""
    data = folder / "data"
    data.mkdir()
    items = []
    for seed in range(6):
        picture, vessels, _ = phantoms.fundus(300, seed)
        Image.fromarray(picture).save(data / f"{seed}.png")
        Image.fromarray(vessels * 255).save(data / f"{seed}_vessels.png")
        items.append({"image": f"{seed}.png", "label": f"{seed}_vessels.png", "subject": f"phantom {seed}"})
    manifest = {
        "name": "phantoms",
        "description": "Six synthetic fundus photographs.",
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        "urls": [],
        "labels": {"0": "background", "1": "vessel"},
        "training": items[:3],
        "validation": items[3:4],
        "test": items[4:],
    }
    file = data / "phantoms.json"
    file.write_text(json.dumps(manifest))
    return file


def run_medseg(*words: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "medseg.cli", *words]
    return subprocess.Popen(command, cwd=folder, env=environment)


def wait_for(address: str, server: subprocess.Popen[bytes], seconds: float = 180) -> None:
    """Until the server answers; MLflow's needs a minute on a busy machine."""
    end = time.monotonic() + seconds
    while not responds(address):
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"expected a server at {address}; got no response. Is the port free?")
        time.sleep(1)


def responds(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


def comparison_address(folder: Path) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("retinal_vessel").experiment_id
    runs = [run.info.run_id for run in client.search_runs([experiment], order_by=["start_time"])]
    named = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
    return f"http://127.0.0.1:{PORT}/#/compare-runs?{named}"


def screenshot(
    address: str, folder: Path, *, width: int, height: int, milliseconds: int = 3000
) -> Image.Image:
    """What headless Chromium shows of a page after so many milliseconds of its own time."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("expected Chromium for screenshots; got none. Install it: apt-get install chromium.")
    file = folder / "screenshot.png"
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'browser'}", f"--window-size={width},{height}",
        f"--virtual-time-budget={milliseconds}", f"--screenshot={file}",
    ]  # fmt: skip
    subprocess.run([browser, *options, address], check=True, capture_output=True, timeout=300)
    with Image.open(file) as picture:
        return picture.convert("RGB")


def save(picture: Image.Image, name: str, *, width: int) -> None:
    """A JPEG at most so wide."""
    picture = picture.convert("RGB")
    if picture.width > width:
        picture = picture.resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    picture.save(PICTURES / name, quality=JPEG_QUALITY, optimize=True)


if __name__ == "__main__":
    main()
