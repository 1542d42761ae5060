"""A small training in a process of its own, which a test may kill."""

import multiprocessing
import os

import torch

SETTINGS = {
    "epochs": 16,
    "val_interval": 2,
    "patches_per_image": 8,
    "patch_px": 64,
    "batch_size": 4,
    "num_workers": 1,
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": "[128, 128]",
    # Dropout draws from the global generator in every step.
    "network_def": "{_target_: UNet, spatial_dims: 2, in_channels: 3, out_channels: 1, channels: [4, 8],"
    " strides: [1], num_res_units: 1, norm: batch, dropout: 0.1}",
}


def train(folder, data, *arguments):
    """In a process of its own that has its own copy of everything."""
    multiprocessing.set_start_method("fork", force=True)  # for the workers: this one's is inherited
    os.chdir(folder)
    os.environ |= {"MEDSEG_DATA": str(data), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    torch.set_num_threads(1)
    from medseg.cli import main

    pairs = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    command = ["train", "retinal_vessel", "--manifest", str(data / "phantoms.json"), *pairs]
    raise SystemExit(main([*command, "--output_dir", "out", *arguments]))
