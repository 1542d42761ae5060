"""Where a training writes: where its user says, or in the bundle for a program that gives the data."""

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
    """Where a training writes, and what it is called after.

    Attributes:
        output_dir, ckpt_dir: see medseg.training.run.train.
        data_sets: their names.
        delivered: a further file that gets the best weights, once they are scored.
        begun_with: weights that the program which gives the data may have begun with.
        parameters: those that it has set.
    """

    output_dir: Path
    ckpt_dir: Path
    data_sets: Sequence[str]
    delivered: Path | None = None
    begun_with: Sequence[Path] = ()
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
    """The user's folders; or the bundle, where a program gives the data and leaves output_dir as it was.

    Such a program, as MONAI Label, trains again and again and looks for the weights in the bundle. So each
    training gets a folder of its own there, and what it ends in takes the place of the bundle's weights;
    one that fails or is stopped leaves them as they are.
    """
    items = trainer.data_loader.dataset.data
    own: Any = parse(open_bundle(str(bundle_root)), "train.yaml").config
    if len(given_items(manifests, items)) < len(items) or str(output_dir) != own["output_dir"]:
        return Place(output_dir, ckpt_dir, manifests)
    now = gather([f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"])[0]  # the first process's
    folder, models = Path(bundle_root) / "trainings" / now, Path(bundle_root) / "models"
    return Place(
        folder,
        folder / "models",
        ["given"],
        delivered=models / checkpoint.MODEL_NAME,
        begun_with=sorted(models.glob("*.pt")),
        parameters={"manifests": "given", "epochs": str(trainer.state.max_epochs)},
    )
