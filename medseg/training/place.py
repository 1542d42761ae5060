"""Where a training writes: to the user's folders, or into the bundle if another program provides the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medseg.bundle import open_bundle, parse
from medseg.data.manifests import given_items
from medseg.inference.distributed import gather
from medseg.training import checkpoint


@dataclass(frozen=True)
class Place:
    """Where a training writes, and the data sets that it is named after.

    Attributes:
        output_dir, ckpt_dir: see medseg.training.run.train.
        data_sets: names of the data sets.
        delivered: a further file to write the best weights to, after they are scored.
        initial_weights: weights that the program which provides the data may have started from.
        parameters: parameters that this program has set.
    """

    output_dir: Path
    ckpt_dir: Path
    data_sets: Sequence[str]
    delivered: Path | None = None
    initial_weights: Sequence[Path] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        return self.ckpt_dir / checkpoint.NAME

    @property
    def tracking(self) -> Path:
        return self.output_dir / "tracking"


def place_of(
    trainer: Any, manifests: Sequence[str], bundle_root: str | Path, output_dir: Path, ckpt_dir: Path
) -> Place:
    """The user's folders; or folders in the bundle, if a program provides the data and keeps output_dir.

    Such a program, for example MONAI Label, trains repeatedly and reads the weights from the bundle. Each
    training therefore gets a folder of its own there, and its final weights replace the bundle's. A training
    that fails or is stopped does not change them.
    """
    items = trainer.data_loader.dataset.data
    own: Any = parse(open_bundle(str(bundle_root)), "train.yaml").config
    if len(given_items(manifests, items)) < len(items) or str(output_dir) != own["output_dir"]:
        return Place(output_dir, ckpt_dir, manifests)
    now = gather([f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"])[0]  # the time of the first process, for all
    folder, models = Path(bundle_root) / "trainings" / now, Path(bundle_root) / "models"
    return Place(
        folder,
        folder / "models",
        ["given"],
        delivered=models / checkpoint.MODEL_NAME,
        initial_weights=sorted(models.glob("*.pt")),
        parameters={"manifests": "given", "epochs": str(trainer.state.max_epochs)},
    )
