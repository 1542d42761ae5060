"""What a comparison of losses trains and scores. All of it is checked before the first training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle import Bundle, open_bundle, parse, training_files
from medseg.bundle.config import has_key
from medseg.bundle.workflow import typed_errors
from medseg.data.manifests import data_root, load_items, require_sound
from medseg.errors import UsageError, did_you_mean
from medseg.methods.losses import loss_names

KEY = "loss_name"
# Keys that each training has of its own here, or that would end one of them before the others.
_OWN = (KEY, "method", "run_name", "parent_run", "output_dir", "ckpt_dir", "resume", "patience")
_TRAINING_CASES = 12  # that a threshold is chosen on


@dataclass(frozen=True)
class LossPlan:
    """A comparison of losses that can start.

    Attributes:
        bundle: the bundle of the task.
        files: its training configuration.
        method: the name of the method that is trained.
        losses: names, in the order in which the user named them.
        reference: the loss that the others are tested against: the bundle's own, else the first one.
        overrides: what is changed in the training configuration for every loss.
        items: the cases that are scored.
        training_items: cases of the training, on which a threshold is chosen.
        data: the names of the data sets, joined by "+".
        split: validation, test, or "fold 0 of 5".
        epochs: of each training.
        experiment: in MLflow.
        folder: where everything is written.
    """

    bundle: Bundle
    files: tuple[str, ...]
    method: str
    losses: tuple[str, ...]
    reference: str
    overrides: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]
    training_items: Sequence[Mapping[str, Any]]
    data: str
    split: str
    epochs: int
    experiment: str
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.bundle.task} {self.data} {self.split}"

    @property
    def warnings(self) -> list[str]:
        """What makes the scores optimistic."""
        if self.split == "test" or self.overrides["val_interval"] >= self.epochs:
            return []
        return [
            "the weights of each network were chosen on the cases that are scored, because it was validated "
            "before the last epoch too: leave out val_interval, or score the test split"
        ]


def plan_losses(
    task: str,
    losses: Sequence[str],
    method: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    split: str | None = None,
    output_dir: str | Path | None = None,
) -> LossPlan:
    """Check everything that a comparison of losses needs.

    Args:
        task: the name or path of a bundle.
        losses: names of two or more losses; see medseg.methods.losses.named_loss.
        method: the method to train; None for the one that train.yaml trains.
        overrides: keys of the training configuration. Without `val_interval`, networks are validated after
            the last epoch alone, so that no weights are chosen on the cases that are scored.
        split: validation or test; None for validation, or what `fold` holds out.
        output_dir: None for out/losses/<task>/<method>/<data>_<split>.

    Raises:
        UsageError: a loss, key, split or manifest is unknown, or the method has no loss with a name.
        DataError: the data are not sound.
    """
    bundle, changed = open_bundle(task), dict(overrides or {})
    files = training_files(bundle, method)
    _require_losses(losses)
    _require_same_budget(changed)
    config = parse(bundle, *files, overrides=changed)
    _require_named_loss(config, bundle.task, method)
    with typed_errors():
        epochs = config.get_parsed_content("epochs")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise UsageError("1 epoch or more", got=str(epochs), advice="Choose a whole number of epochs.")
    changed.setdefault("val_interval", epochs)
    manifests = config["manifests"]
    manifests = [manifests] if isinstance(manifests, str) else [str(name) for name in manifests]
    data_root()
    require_sound(manifests)
    with typed_errors():
        part, items = _items(config, manifests, split)
        training_items = _spread(config.get_parsed_content("train::datalist"))
    data = "+".join(Path(name).stem for name in manifests)
    trained = str(config["method"])
    default = Path("out/losses", bundle.task, trained, f"{data}_{part.replace(' ', '_')}")
    return LossPlan(
        bundle=bundle,
        files=tuple(files),
        method=trained,
        losses=tuple(losses),
        reference=str(config[KEY]) if config[KEY] in losses else losses[0],
        overrides=changed,
        items=items,
        training_items=training_items,
        data=data,
        split=part,
        epochs=epochs,
        experiment=str(config["experiment"]),
        folder=Path(output_dir) if output_dir else default,
    )


def _require_losses(losses: Sequence[str]) -> None:
    known = loss_names()
    for name in losses:
        if name not in known:
            raise UsageError("the name of a loss", got=name, advice=did_you_mean(name, known))
    twice = [name for number, name in enumerate(losses) if name in losses[:number]]
    if twice or len(losses) < 2:
        raise UsageError(
            "two or more losses, each once",
            got=f"{twice[0]} twice" if twice else ", ".join(losses) or "none",
            advice=f"Choose from {', '.join(known)}.",
        )


def _require_same_budget(changed: Mapping[str, Any]) -> None:
    for key in changed:
        if key in _OWN:
            raise UsageError(
                "keys that every training of the comparison can have",
                got=key,
                advice="Leave it out: each loss has its own folder and run, and all have the same epochs.",
            )


def _require_named_loss(config: Any, task: str, method: str | None) -> None:
    """Refuse a method that is fitted at once, without the gradient of a loss, and a loss without a name."""
    if has_key(config, "train::trainer::iteration_update"):
        raise UsageError(
            "a method that is trained by the gradient of a loss",
            got=f"{method}, which is fitted at once",
            advice="Choose a network.",
        )
    if not has_key(config, KEY):
        raise UsageError(
            f"a train.yaml with {KEY}",
            got=f"that of {task}, which has none",
            advice="Let its loss be medseg.methods.losses.named_loss; see docs/how-to/losses.md.",
        )


def _items(config: Any, manifests: Sequence[str], split: str | None) -> tuple[str, list[dict[str, Any]]]:
    """The name and the items of what is scored."""
    fold = config.get("fold", None)
    if split not in (None, "validation", "test") or (fold and split):
        raise UsageError(
            "the split validation or test, or a fold",
            got=f"{split}{' beside a fold' if fold else ''}",
            advice="A network is not scored on what trained it. Leave out the split or the fold.",
        )
    if split == "test":
        return split, load_items(manifests, split)
    name = f"fold {fold[0]} of {fold[1]}" if fold else "validation"
    return name, list(config.get_parsed_content("validate::datalist"))


def _spread(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A few different cases, spread evenly over the list."""
    different = list({str(item["image"]): item for item in items}.values())
    count = min(_TRAINING_CASES, len(different))
    return [different[number * len(different) // count] for number in range(count)]
