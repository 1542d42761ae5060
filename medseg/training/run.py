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
from medseg.inference.sizes import size_errors
from medseg.pipeline import Segmenter
from medseg.tracking.provenance import SystemMetrics
from medseg.tracking.run_list import name_of
from medseg.tracking.tracker import EndedEarly, Tracker, is_finished, mark_killed_runs, tracked
from medseg.training import checkpoint
from medseg.training.lineage import training_lineage
from medseg.training.place import Place, place_of
from medseg.training.progress import Stages, bar, log_epoch
from medseg.training.pruning import ENDED_TAG, PRUNED, goes_on
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

    After each epoch ckpt_dir/checkpoint.pt holds the state from which the training can be resumed, and
    ckpt_dir/model.pt the best weights. output_dir gets scores, pictures and learning curves, and one MLflow
    run holds all. Only the first process writes. See medseg.training.place for data from another program.

    Args:
        trainer: MONAI's trainer, over a PreparedDataset in EpochBatches.
        validator: MONAI's evaluator, run by the ValidationHandler; its key metric chooses the best weights.
        lr_scheduler: the scheduler of the trainer's LrScheduleHandler.
        parameters: flattened configuration (medseg.bundle.configuration).
        changed: the parameters that differ from the bundle's own (changed_configuration).
        manifests: names of the data sets.
        bundle_root, output_dir, ckpt_dir: folders of the bundle, of the results and of the weights.
        experiment, run_name, parent_run: see medseg.tracking.tracker.Tracker; without run_name the run is
            named after the changed parameters (medseg.tracking.run_list).
        resume: whether to continue from the checkpoint, if there is one.
        patience: the training ends after so many validations without a better score; None for never.
        register: name in MLflow's model registry; None registers nothing.
        start_from: the initial weights; their lineage becomes part of that of the new weights.
        segmenter: a function from a file of weights to the segmenter that is scored at the end.
        scoring: how the validation cases are scored at the end.

    Raises:
        UsageError: output_dir holds a training and resume is not set or parameters differ; see size_errors.
        MedsegError: the loss is infinite or NaN, or another training writes to output_dir.
        EndedEarly: after a validation, medseg.training.pruning decided so.
    """
    place = place_of(trainer, manifests, bundle_root, Path(output_dir), Path(ckpt_dir))
    digests = _digests(trainer, validator)
    parameters = {**parameters, **place.parameters, **_by_split(digests)}
    with ExitStack() as stack:
        stack.enter_context(_only_training_in(place.output_dir))
        saved = _saved(place.checkpoint, resume, parameters)
        idist.barrier()  # else another process could read the first one's new checkpoint as an old one
        training = _Training(trainer, validator, lr_scheduler, place.checkpoint, parameters, patience)
        training.set_lineage(manifests, [*place.initial_weights, *([start_from] if start_from else [])])
        position = training.restore(saved) if saved else None
        if training.standing.finished and is_finished(place.tracking):
            logger.info("%s: this training is already finished", place.output_dir)
            return
        if idist.get_rank() == 0:
            name = run_name or name_of(changed)
            run = _tracker(place.tracking, experiment, name, parent_run, position)
            training.note_in(run, stack)
            if not saved:
                describe(run, digests, parameters, place.data_sets, changed)
        if not training.standing.finished:  # else the training was killed before the journal had its end
            training.run()
            training.finish(place, register, segmenter, scoring, changed)


@dataclass
class Standing:
    """The progress of a training, as the checkpoint stores it."""

    epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    validations_since_best: int = 0
    over: bool = False  # all epochs are done, or it was stopped early
    finished: bool = False  # the scores are written and tracked too
    # Name to (epoch, value), for the learning curves.
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


class _Training:
    """The handlers that track and save a trainer's epochs and let it resume."""

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
        # Unwrapped from DistributedDataParallel.
        self.network = getattr(trainer.network, "module", trainer.network)
        self.standing = Standing()
        self.best_model: dict[str, torch.Tensor] = {}
        self.scaler: dict[str, Any] | None = None
        self.lineage = Lineage()
        self.tracker: Tracker | None = None
        self.load: SystemMetrics | None = None
        self.losses: list[float] = []
        self.figures: dict[str, float] = {}
        self.pruned = False
        self.stages = Stages(trainer, validator)
        for engine in (trainer, validator):
            # A loader draws a seed for its workers whenever it starts, thus once more after a resume. With a
            # generator of its own, this does not change the random numbers of the network's dropout.
            engine.data_loader.generator = torch.Generator()

    def set_lineage(self, manifests: Sequence[str], initial_weights: Sequence[str | Path]) -> None:
        """Set the lineage of the new weights: the training items, and the lineage of the initial weights."""
        items = self.trainer.data_loader.dataset.data
        self.lineage = training_lineage(items, manifests) | lineage_of(initial_weights)

    def note_in(self, run: Tracker, stack: ExitStack) -> None:
        """Track in this run, system metrics included, until the stack is closed."""
        self.tracker, self.load = run, stack.enter_context(SystemMetrics())
        stack.enter_context(tracked(run))

    def restore(self, saved: Mapping[str, Any]) -> int:
        """Restore the state from a checkpoint; return the tracker's position."""
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
        logger.info("resuming after epoch %d of %d", state.epoch, state.max_epochs)
        return int(saved["tracking"])

    def save(self) -> None:
        """Write the checkpoint, then commit what was tracked so far."""
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
        # Added last, so that it runs after the scheduler's step and the validation.
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_epoch)
        self.validator.add_event_handler(Events.STARTED, lambda: take_buffers_of_first(self.network))
        with self.validator.add_event_handler(Events.COMPLETED, self._on_validation):
            if not self.standing.epoch:
                self.save()
            if not self.standing.over:
                self._run_epochs()
        if self.pruned:
            self._end_early()

    def _run_epochs(self) -> None:
        try:
            with size_errors(self.network), bar(self.trainer):
                self.trainer.run()
        except UsageError:
            if not self.standing.epoch:  # the corrected command may write to the same folder
                self.file.unlink(missing_ok=True)
            raise

    def finish(
        self,
        place: Place,
        register: str | None,
        segmenter: Callable[[Path], Segmenter],
        scoring: Scoring,
        changed: Mapping[str, str],
    ) -> None:
        """Score the masks of the validation cases with the best weights, and track the scores.

        If no validation had a valid score, the last weights are the best.
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

    def _end_early(self) -> None:
        if self.tracker:
            self.tracker.tags({ENDED_TAG: PRUNED})
            self.tracker.commit()
        raise EndedEarly(
            "validation scores as good as those of other trainings",
            got=f"{self.standing.best_score:.4f} after epoch {self.standing.epoch}",
            advice="This training was pruned; the others go on.",
        )

    def _on_start(self) -> None:
        if self.scaler and self.trainer.scaler:  # MONAI creates a new scaler at every start
            self.trainer.scaler.load_state_dict(self.scaler)

    def _on_start_of_epoch(self) -> None:
        self.trainer.data_loader.batch_sampler.set_epoch(self.trainer.state.epoch)
        # Read at the start: at the end of the epoch, the scheduler has already set the next learning rate.
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
        state = self.trainer.state
        self.pruned = not goes_on(state.epoch, score) and state.epoch < state.max_epochs

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
            logger.info("stopping early: no better score in %d validations", self.patience)
            self.trainer.terminate()
            last = True
        if self.pruned:
            self.trainer.terminate()
        standing.over = last
        if self.tracker and self.load:
            log_epoch(state.epoch, state.max_epochs, self.figures, self.stages.seconds)
            seconds = {f"seconds/{stage}": value for stage, value in self.stages.seconds.items()}
            # MLflow's compare page starts with the first metric, so the learning rate comes after the losses.
            figures = dict(sorted(self.figures.items(), key=lambda item: item[0] == "learning_rate"))
            self.tracker.metrics({**figures, **seconds, **self.load.collect()}, state.epoch)
        self.save()

    def write_model(self, file: Path) -> None:
        """Write the best weights, if there are any, and their lineage."""
        if self.best_model:
            checkpoint.save(file, self.best_model)
            write_lineage(file, self.lineage)


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _digests(trainer: Any, validator: Any) -> dict[str, str]:
    """The digests of the data of each split."""
    engines = {"training": trainer, "validation": validator}
    return {split: data_digest(engine.data_loader.dataset) for split, engine in engines.items()}


def _by_split(digests: Mapping[str, str]) -> dict[str, str]:
    return {f"data.{split}": digest for split, digest in digests.items()}


def _tracker(folder: Path, experiment: str, name: str, parent: str | None, position: int | None) -> Tracker:
    """The tracker of this training; first the runs of killed trainings are marked."""
    mark_killed_runs()
    return Tracker(folder, experiment=experiment, run_name=name, parent=parent, resume_at=position)


def _saved(file: Path, resume: bool, parameters: Mapping[str, str]) -> dict[str, Any] | None:
    """The checkpoint to resume from; None to start a new training."""
    if not file.is_file():
        return None
    if not resume:
        raise UsageError(
            "an output_dir without an earlier training",
            got=str(file),
            advice="Continue it with --resume, or choose another --output_dir.",
        )
    saved = checkpoint.load(file)
    checkpoint.require_same(saved["parameters"], parameters)
    return saved


@contextmanager
def _only_training_in(folder: Path) -> Iterator[None]:
    """Hold a lock that the system releases when the process ends; only the first process holds it."""
    if idist.get_rank():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            # Workers, which outlive a killed process by some seconds, inherit a lock of flock, not of lockf.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise MedsegError(
                "an output_dir that no other training writes to",
                got=f"{folder}, which is in use",
                advice="Choose another --output_dir, or wait until that training ends.",
            ) from error
        yield
