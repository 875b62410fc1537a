"""Run a training: read the data, start or resume, use smaller patches if memory runs out, and write the model."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from napari_tessera.core.atomic_writes import check_free, clear_up, locked, make_folder
from napari_tessera.core.errors import ModelError, ParameterError, lacks_memory
from napari_tessera.core.jobs import Job, Progress, finish_writing, in_background, stepped_in_background, subtask
from napari_tessera.models.device import choose
from napari_tessera.models.header import CHECKPOINT, LOCK
from napari_tessera.models.registry import find
from napari_tessera.models.safetensors import ENDING
from napari_tessera.models.weights import Network, tensors_of
from napari_tessera.training.annotations.annotation import AnnotatedImage
from napari_tessera.training.annotations.examples import painted_dataset
from napari_tessera.training.annotations.read import paintings_from
from napari_tessera.training.checkpoint import DATA, Checkpoint, State
from napari_tessera.training.class_prior_correction import match_class_prior
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset, read_dataset, size_of
from napari_tessera.training.data.example import Example
from napari_tessera.training.data.sources import Source
from napari_tessera.training.export import TrainingResult, check_widths, describe, report_path, write_model
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.pretrained import (
    Pretrained,
    check_images,
    load_pretrained,
    read_start,
)
from napari_tessera.training.resolve import (
    check_coarsest,
    check_memory,
    resolve_config,
    step_px,
    with_length,
)
from napari_tessera.training.settings import NOTHING, Training, words
from napari_tessera.training.unet_task import learn
from napari_tessera.training.validation import score_network

Read = Callable[[Training, Pretrained | None], Job[Dataset]]
"""Function that reads the dataset, given the settings and the model to start from."""
Done = TypeVar("Done")
LARGEST_LOSS_OF_SCORE = 0.05
"""Largest loss of score by the class prior correction: held-out strokes have equal class frequencies too."""
SMALLEST_PATCH_PX = 32


def training(
    sources: Sequence[Source],
    out: Path,
    settings: Training,
    *,
    restart: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Job[TrainingResult]:
    """Do what `train` does, as a job; stopped early by `should_stop`, it writes the best model so far."""
    read = partial(read_files, sources)
    inputs = [path for source in sources for path in (source.image, source.labels)]
    return training_on(read, inputs, out, settings, restart=restart, overwrite=overwrite, should_stop=should_stop)


def fine_tuning(
    paintings: Sequence[AnnotatedImage],
    out: Path,
    settings: Training,
    *,
    inputs: Sequence[Path] = (),
    restart: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    live: LiveTraining | None = None,
) -> Job[TrainingResult]:
    """Do what `fine_tune` does, as a job; stopped early by `should_stop`, it writes the best model so far.

    Parameters
    ----------
    settings : Training
        With `painted`.
    inputs : sequence of path
        Files that must not be overwritten.
    should_stop : function () -> bool
        Called after each step.
    live : LiveTraining, optional
        Gets the state of the training, for `live_prediction.prediction` between two steps.
    """
    return training_on(
        partial(painted_dataset, paintings), inputs, out, settings,
        restart=restart, overwrite=overwrite, should_stop=should_stop, live=live,
    )  # fmt: skip


def training_on(
    read: Read,
    inputs: Sequence[Path],
    out: Path,
    settings: Training,
    *,
    restart: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    live: LiveTraining | None = None,
) -> Job[TrainingResult]:
    """Train on the dataset that `read` returns; `inputs` are the files that it reads, which must not be overwritten.

    `live` gets the state of the training when the first step begins.
    """
    check_name(out)
    make_folder(out.parent)
    yield from in_background(finish_writing, "Writing the checkpoint")
    with locked(
        out.with_name(out.name + LOCK),
        f"Another training is writing {out} at this moment. Wait for it or stop it, or choose another name.",
    ):
        saved = out.with_name(out.name + CHECKPOINT)
        overwrite |= saved.exists() and not restart
        check_free([out, report_path(out)], overwrite=overwrite, inputs=[*inputs, *files_named_in(settings)])
        clear_up(out.parent)
        if restart:
            saved.unlink(missing_ok=True)
        return (yield from learnt_model(read, out, settings, saved, should_stop, live, overwrite))


def read_files(sources: Sequence[Source], settings: Training, start: Pretrained | None) -> Job[Dataset]:
    """Read images and labels from files: around annotations, or completely."""
    if not settings.painted:
        return (yield from read_dataset(sources, settings))
    paintings = yield from subtask(paintings_from(sources, settings.ndim), 0, 1, 10)
    return (yield from subtask(painted_dataset(paintings, settings, start), 1, 9, 10))


def learnt_model(
    read: Read,
    out: Path,
    settings: Training,
    saved: Path,
    should_stop: Callable[[], bool],
    live: LiveTraining | None,
    overwrite: bool,
) -> Job[TrainingResult]:
    """Train, from the checkpoint `saved` if it exists, and write the model.

    With a length in minutes, a training whose time is over is finished: a step may take longer than when it was
    measured.
    """
    is_over = over_after(settings.minutes)
    if settings.minutes is not None:
        yield Progress(0, 1, "Starting", {"seconds": 60 * settings.minutes})
    start = None if settings.start_from == NOTHING else read_start(settings)
    data, wanted, device = yield from prepare(read, settings, start)
    header = describe(out, settings, wanted, data)
    for doubt in data.doubts:
        yield Progress(1, 1, doubt, {"warning": doubt})
    session = TrainingSession(settings, data, start, header, saved, device, lambda: should_stop() or is_over(), live)
    state, plan = yield from session.learn(wanted)
    if plan.patch_px < wanted.patch_px:
        data = replace(data, doubts=(*data.doubts, on_smaller_patches(plan, wanted)))
    trained = yield from write_model(out, header, state, plan, data, settings.device, overwrite=overwrite)
    if is_over() and not should_stop():
        trained = replace(trained, is_finished=True)
    if trained.is_finished:
        saved.unlink(missing_ok=True)
    return trained


def over_after(minutes: float | None) -> Callable[[], bool]:
    """Return a function that tells whether so many minutes have passed since now; always False for None."""
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    return lambda: time.monotonic() > end


def prepare(read: Read, settings: Training, start: Pretrained | None) -> Job[tuple[Dataset, TrainingConfig, str]]:
    """Read the data, fill in the automatic settings except the length, and choose the device."""
    device = choose(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    data = yield from read(settings, start)
    if start is not None:
        check_images(start, data.kind, data.n_channels)
    plan = resolve_config(settings, data, device, start)
    check_widths(plan)
    check_coarsest(plan)
    check_memory(plan, device)
    return data, plan, device


def check_name(out: Path) -> None:
    """Refuse a path that does not end like a model file."""
    if out.suffix != ENDING:
        raise ParameterError(f"A model file ends in {ENDING}, but {out} does not. Name it {out.stem}{ENDING}.", "out")


def files_named_in(settings: Training) -> list[Path]:
    """List the files that the settings name: the card, and the model to start from."""
    files = [Path(settings.card)] if settings.card else []
    with suppress(ParameterError, ModelError):  # a wrong model is refused when it is read
        files.append(find(settings.start_from).path)
    return files


@dataclass(frozen=True)
class TrainingSession:
    """Everything that a training needs, except its configuration."""

    settings: Training
    data: Dataset
    start: Pretrained | None
    header: Mapping[str, Any]  # of the model file
    saved: Path  # the checkpoint
    device: str
    should_stop: Callable[[], bool]  # see `fine_tuning`
    live: LiveTraining | None

    def learn(self, wanted: TrainingConfig) -> Job[tuple[State, TrainingConfig]]:
        """Train as configured, with smaller patches if needed; return the state and the final configuration."""
        return within_memory(partial(self.attempt, wanted), wanted)

    def attempt(self, wanted: TrainingConfig, plan: TrainingConfig) -> Job[tuple[State, TrainingConfig]]:
        """Train with a configuration whose patches may be smaller than those wanted."""
        plan = yield from with_length(self.settings, plan, self.data, self.device, self.saved)
        # A resumed training starts with the wanted patches, whatever fitted into memory earlier.
        asked = replace(plan, patch_px=wanted.patch_px, depth_px=wanted.depth_px)
        classes = words(self.settings.classes)
        model = {"header": dict(self.header), "images": self.data.names, "doubts": list(self.data.doubts)}
        model |= {"scored_on": size_of(self.data.check, plan.task)}
        checkpoint = Checkpoint(self.saved, asked.as_json() | {DATA: self.data.digest}, model)
        begin = None
        if self.start:
            begin = partial(load_pretrained, start=self.start, task=plan.task, classes=classes, seed=plan.seed)
        watch = partial(self.live.begin, header=self.header, data=self.data) if self.live else None
        state = yield from learn(
            self.data.learn, plan, checkpoint,
            self.validate if self.data.check else None,
            device=self.device, save_seconds=self.settings.save_every, should_stop=self.should_stop,
            begin=begin, watch=watch, everything=self.everything,
        )  # fmt: skip
        yield from self.correct_class_prior(state, plan)
        return state, plan

    def correct_class_prior(self, state: State, plan: TrainingConfig) -> Job[None]:
        """Match the class frequencies to their estimate, unless that lowers the held-out score too much.

        Only for a network that started from nothing: an annotation that corrects a model lies where the model was
        wrong, and does not show how often it is wrong.
        """
        if self.start is not None or not has_even_strokes(plan, self.settings):
            return
        before, scored = tensors_of(state.net), state.scores
        learns_all = bool(scored) and scored["step"] < state.best_step
        if learns_all:
            scored = yield from self.validate(state.net)
        examples = self.everything if learns_all else self.data.learn
        shares = yield from match_class_prior(state.net, examples, plan.seed)
        if shares is None or not scored:
            return
        scores = yield from self.validate(state.net)
        if scores["score"] < scored["score"] - LARGEST_LOSS_OF_SCORE:
            state.net.load_state_dict(before)
        elif not learns_all:
            scored.update(scores)

    @property
    def everything(self) -> Sequence[Example]:
        """All examples for the last steps, also the held-out annotation: with few strokes, every stroke matters.

        A model that is fine-tuned keeps its validation to the end, and so does a training with `patience`.
        """
        return () if self.start is not None or self.settings.patience is not None else self.data.everything

    def validate(self, net: Network) -> Job[dict[str, float]]:
        """Score a network on the validation data."""
        return stepped_in_background(score_network(net, self.header, self.data.check, self.settings.device))


def has_even_strokes(plan: TrainingConfig, settings: Training) -> bool:
    """Return whether classes are learnt from strokes that do not show class frequencies.

    With class weights, or a loss that favours a class, the user wants more or less of a class.
    """
    return settings.painted and plan.task == "classes" and plan.loss == "combined" and plan.class_weights is None


def within_memory(attempt: Callable[[TrainingConfig], Job[Done]], plan: TrainingConfig) -> Job[Done]:
    """Try a configuration; while memory is insufficient, try again with patches of half the side.

    `attempt` resumes from its checkpoint, if there is one. OutOfMemory is raised if the smallest patches do not fit.
    """
    while True:
        try:
            return (yield from attempt(plan))
        except Exception as error:
            smaller = with_smaller_patches(plan)
            if smaller.patch_px == plan.patch_px or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold the memory of the step
        said = on_smaller_patches(smaller, plan)
        plan = smaller
        yield Progress(0, plan.steps, said, {"warning": said})


def with_smaller_patches(plan: TrainingConfig) -> TrainingConfig:
    """Halve the side of the patches, as a multiple of the network's step; the smallest patches stay.

    Examples
    --------
    >>> [with_smaller_patches(TrainingConfig(patch_px=side)).patch_px for side in (160, 32)]
    [80, 32]
    """
    step = step_px(plan.network, plan.widths)
    smallest = max(SMALLEST_PATCH_PX, step * (2 if plan.batch == 1 else 1))
    half = plan.patch_px // 2 // step * step
    side = min(plan.patch_px, max(smallest, half))
    return replace(plan, patch_px=side, depth_px=side if plan.ndim == 3 else 0)


def on_smaller_patches(plan: TrainingConfig, wanted: TrainingConfig) -> str:
    """Return a note that patches are smaller than planned."""
    return (
        f"Patches of {wanted.patch_px} px do not fit into memory, so they are {plan.patch_px} px wide, and the "
        "network learns less from the surroundings. For larger ones, close other programs, or choose a smaller `batch`."
    )
