"""A training from its first epoch to its scores: tracked, saved every epoch, and resumed after a kill."""

from __future__ import annotations

import fcntl
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events

from medseg.bundle import Lineage, lineage_of, write_lineage
from medseg.data.samples import data_digest
from medseg.errors import MedsegError, UsageError
from medseg.evaluation.scoring import Scoring
from medseg.evaluation.split import evaluate, ranked
from medseg.inference.distributed import gather, mean, take_buffers_of_first
from medseg.pipeline import Segmenter
from medseg.tracking.provenance import SystemMetrics
from medseg.tracking.run_list import name_of
from medseg.tracking.tracker import Tracker, is_finished, mark_killed_runs, tracked
from medseg.training import checkpoint
from medseg.training.lineage import training_lineage
from medseg.training.place import Place, place_of
from medseg.training.progress import Stages, bar, log_epoch
from medseg.training.results import describe, log_results, save_mlflow_model

logger = logging.getLogger(__name__)


def train(
    trainer: Any,
    validator: Any,
    *,
    lr_scheduler: Any,
    parameters: Mapping[str, str],
    changed: Mapping[str, str],
    manifests: Sequence[str],
    bundle_root: str | Path,
    output_dir: str | Path,
    ckpt_dir: str | Path,
    experiment: str,
    run_name: str | None = None,
    parent_run: str | None = None,
    resume: bool = False,
    patience: int | None = None,
    register: str | None = None,
    start_from: str | Path | None = None,
    segmenter: Callable[[Path], Segmenter],
    scoring: Scoring,
) -> None:
    """Train, keep the weights of the best validation, and score every validation case with them.

    After each epoch ckpt_dir/checkpoint.pt holds all that is needed to go on, ckpt_dir/model.pt the best
    weights. output_dir gets case scores, pictures and learning curves. One MLflow run holds all of it; only
    the first of several processes writes. See medseg.training.place for data that another program gives.

    Args:
        trainer: MONAI's, over a PreparedDataset in EpochBatches.
        validator: MONAI's, run by the trainer's ValidationHandler; its key metric chooses the best weights.
        lr_scheduler: what the trainer's LrScheduleHandler steps.
        parameters: flattened configuration (medseg.bundle.configuration).
        changed: those of them that differ from the bundle's own (changed_configuration).
        manifests: names of the data sets.
        bundle_root, output_dir, ckpt_dir: folders of the bundle, of the results and of the weights.
        experiment, run_name, parent_run: see medseg.tracking.tracker.Tracker; no run_name takes what was
            changed (medseg.tracking.run_list).
        resume: go on from the checkpoint, where there is one.
        patience: validations without a better score after which the training ends; None for never.
        register: name in MLflow's model registry; None registers nothing.
        start_from: weights that it began with; whom they have learnt from counts too.
        segmenter: from the weights to what makes the masks that are scored at the end.
        scoring: of the validation cases at the end.

    Raises:
        UsageError: output_dir holds a training and resume is not set; other parameters than it began with.
        MedsegError: the loss is infinite or no number; another training writes to output_dir.
    """
    place = place_of(trainer, manifests, bundle_root, Path(output_dir), Path(ckpt_dir))
    digests = _digests(trainer, validator)
    parameters = {**parameters, **place.parameters, **_by_split(digests)}
    with ExitStack() as stack:
        stack.enter_context(_only_training_in(place.output_dir))
        saved = _saved(place.checkpoint, resume, parameters)
        idist.barrier()  # before the first process writes a checkpoint that another would take for an old one
        training = _Training(trainer, validator, lr_scheduler, place.checkpoint, parameters, patience)
        training.learn_from(manifests, [*place.begun_with, *([start_from] if start_from else [])])
        position = training.restore(saved) if saved else None
        if training.standing.finished and is_finished(place.tracking):
            logger.info("%s: this training is finished", place.output_dir)
            return
        if idist.get_rank() == 0:
            name = run_name or name_of(changed)
            run = _tracker(place.tracking, experiment, name, parent_run, position)
            training.note_in(run, stack)
            if not saved:
                describe(run, digests, parameters, place.data_sets, changed)
        if not training.standing.finished:  # else a kill came before its end was noted
            training.run()
            training.finish(place, register, segmenter, scoring, changed)


@dataclass
class Standing:
    """How far a training has come, as its checkpoint holds it."""

    epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    validations_since_best: int = 0
    over: bool = False  # all epochs, or stopped early
    finished: bool = False  # scored and tracked too
    # Name to (epoch, value), for the learning curves.
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


class _Training:
    """The handlers that make a trainer's epochs tracked, saved and resumable."""

    def __init__(
        self,
        trainer: Any,
        validator: Any,
        lr_scheduler: Any,
        file: Path,
        parameters: Mapping[str, str],
        patience: int | None,
    ) -> None:
        self.trainer, self.validator, self.lr_scheduler = trainer, validator, lr_scheduler
        self.file, self.parameters, self.patience = file, dict(parameters), patience
        self.model_file = file.with_name(checkpoint.MODEL_NAME)
        # Without what spreads it over processes.
        self.network = getattr(trainer.network, "module", trainer.network)
        self.standing = Standing()
        self.best_model: dict[str, torch.Tensor] = {}
        self.scaler: dict[str, Any] | None = None
        self.lineage = Lineage()
        self.tracker: Tracker | None = None
        self.load: SystemMetrics | None = None
        self.losses: list[float] = []
        self.figures: dict[str, float] = {}
        self.stages = Stages(trainer, validator)
        for engine in (trainer, validator):
            # A loader draws a seed for its workers whenever it starts, thus once more after a resume. From
            # a generator of its own, that leaves the network's dropout alone.
            engine.data_loader.generator = torch.Generator()

    def learn_from(self, manifests: Sequence[str], begun_with: Sequence[str | Path]) -> None:
        """Note whom the weights will have learnt from: see training_lineage."""
        items = self.trainer.data_loader.dataset.data
        self.lineage = training_lineage(items, manifests) | lineage_of(begun_with)

    def note_in(self, run: Tracker, stack: ExitStack) -> None:
        """Note all that follows in a run, and how busy the machine is, until the stack is closed."""
        self.tracker, self.load = run, stack.enter_context(SystemMetrics())
        stack.enter_context(tracked(run))

    def restore(self, saved: Mapping[str, Any]) -> int:
        """Take everything over from a checkpoint; returns the tracker's position."""
        self.standing = Standing(**saved["standing"])
        self.best_model = saved["best_model"]
        self.scaler = saved["scaler"]
        self.network.load_state_dict(saved["network"])
        self.trainer.optimizer.load_state_dict(saved["optimizer"])
        self.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        state = self.trainer.state
        state.epoch = self.standing.epoch
        state.iteration = state.epoch * state.epoch_length
        checkpoint.restore_generators(saved["generators"])
        self.write_model(self.model_file)
        logger.info("goes on after epoch %d of %d", state.epoch, state.max_epochs)
        return int(saved["tracking"])

    def save(self) -> None:
        """Write the checkpoint; what was noted for tracking until now is final with it."""
        if not self.tracker:
            return
        content = {
            "standing": asdict(self.standing),
            "parameters": self.parameters,
            "network": self.network,
            "best_model": self.best_model,
            "optimizer": self.trainer.optimizer,
            "lr_scheduler": self.lr_scheduler,
            "scaler": self.trainer.scaler,
            "generators": checkpoint.generators(),
            "tracking": self.tracker.position,
        }
        checkpoint.save(self.file, content)
        self.write_model(self.model_file)
        self.tracker.commit()

    def run(self) -> None:
        """Train the epochs that are left."""
        self.trainer.add_event_handler(Events.STARTED, self._on_start)
        self.trainer.add_event_handler(Events.EPOCH_STARTED, self._on_start_of_epoch)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        # After the trainer's own handlers: the schedule's step and the validation are over.
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_epoch)
        self.validator.add_event_handler(Events.STARTED, lambda: take_buffers_of_first(self.network))
        with self.validator.add_event_handler(Events.COMPLETED, self._on_validation):
            if not self.standing.epoch:
                self.save()
            if not self.standing.over:
                with bar(self.trainer):
                    self.trainer.run()

    def finish(
        self,
        place: Place,
        register: str | None,
        segmenter: Callable[[Path], Segmenter],
        scoring: Scoring,
        changed: Mapping[str, str],
    ) -> None:
        """Score the masks of the validation cases by the best weights; log it all.

        Without a valid score the best weights are the last.
        """
        if not self.best_model:
            self.best_model = _copied(self.network)
        self.network.load_state_dict(self.best_model)
        if idist.get_rank() == 0:
            self.write_model(self.model_file)
        idist.barrier()
        rows = evaluate(
            segmenter(self.model_file),
            gather(self.validator.data_loader.dataset.data),
            output_dir=place.output_dir,
            split="validation",
            scoring=scoring,
            parameters=self.parameters,
        )
        if self.tracker:
            worst_first = ranked(rows)
            log_results(
                self.tracker, place.output_dir, worst_first, self.standing.history, self.model_file, changed
            )
            if register:
                self.tracker.model(
                    save_mlflow_model(self.network, self.validator, place.output_dir), register
                )
            self.standing.finished = True
            self.save()
            if place.delivered:
                self.write_model(place.delivered)

    def _on_start(self) -> None:
        if self.scaler and self.trainer.scaler:  # which MONAI makes anew at every start
            self.trainer.scaler.load_state_dict(self.scaler)

    def _on_start_of_epoch(self) -> None:
        self.trainer.data_loader.batch_sampler.set_epoch(self.trainer.state.epoch)
        # At the end of the epoch the schedule has already set the next one's.
        self.figures = {"learning_rate": self.trainer.optimizer.param_groups[0]["lr"]}
        self.losses = []

    def _on_iteration(self) -> None:
        loss = float(self.trainer.state.output[0]["loss"])
        if not math.isfinite(loss):
            raise MedsegError(
                "a training loss that is a number",
                got=f"{loss} in epoch {self.trainer.state.epoch}",
                advice="Lower learning_rate, or switch autocast off.",
            )
        self.losses.append(loss)

    def _on_validation(self) -> None:
        metrics = {name: float(value) for name, value in self.validator.state.metrics.items()}
        self.figures |= metrics
        standing, score = self.standing, metrics[self.validator.state.key_metric_name]
        standing.validations_since_best += 1
        if score > standing.best_score:
            standing.best_score, standing.best_epoch = score, self.trainer.state.epoch
            standing.validations_since_best = 0
            self.best_model = _copied(self.network)

    def _on_epoch(self) -> None:
        state, standing = self.trainer.state, self.standing
        last = state.epoch == state.max_epochs
        if last and self.validator.state.key_metric_name not in self.figures:
            self.validator.run()
        self.figures["train_loss"] = mean(sum(self.losses) / len(self.losses))
        self.figures |= {name: float(value) for name, value in state.metrics.items()}
        for name, value in self.figures.items():
            standing.history.setdefault(name, []).append((state.epoch, value))
        standing.epoch = state.epoch
        if self.patience and standing.validations_since_best >= self.patience:
            logger.info("stops: no better score in %d validations", self.patience)
            self.trainer.terminate()
            last = True
        standing.over = last
        if self.tracker and self.load:
            log_epoch(state.epoch, state.max_epochs, self.figures, self.stages.seconds)
            seconds = {f"seconds/{stage}": value for stage, value in self.stages.seconds.items()}
            # MLflow's compare page begins with the metric that came first: a loss or a score tells more.
            figures = dict(sorted(self.figures.items(), key=lambda item: item[0] == "learning_rate"))
            self.tracker.metrics({**figures, **seconds, **self.load.collect()}, state.epoch)
        self.save()

    def write_model(self, file: Path) -> None:
        """Write the best weights, where there are some, and whom they have learnt from."""
        if self.best_model:
            checkpoint.save(file, self.best_model)
            write_lineage(file, self.lineage)


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _digests(trainer: Any, validator: Any) -> dict[str, str]:
    """Split to the digest of its data."""
    engines = {"training": trainer, "validation": validator}
    return {split: data_digest(engine.data_loader.dataset) for split, engine in engines.items()}


def _by_split(digests: Mapping[str, str]) -> dict[str, str]:
    return {f"data.{split}": digest for split, digest in digests.items()}


def _tracker(folder: Path, experiment: str, name: str, parent: str | None, position: int | None) -> Tracker:
    """After the runs of trainings that were killed are marked."""
    mark_killed_runs()
    return Tracker(folder, experiment=experiment, run_name=name, parent=parent, resume_at=position)


def _saved(file: Path, resume: bool, parameters: Mapping[str, str]) -> dict[str, Any] | None:
    """The checkpoint to go on from; None to begin."""
    if not file.is_file():
        return None
    if not resume:
        raise UsageError(
            "an output_dir without an earlier training",
            got=str(file),
            advice="Go on with it by --resume, or choose another --output_dir.",
        )
    saved = checkpoint.load(file)
    checkpoint.require_same(saved["parameters"], parameters)
    return saved


@contextmanager
def _only_training_in(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends; of several processes the first holds it."""
    if idist.get_rank():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            # lockf's, unlike flock's, is not inherited by workers, which outlive a kill by some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise MedsegError(
                "an output_dir that no other training writes to",
                got=f"{folder} in use",
                advice="Choose another --output_dir, or wait.",
            ) from error
        yield
