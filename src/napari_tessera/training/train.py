"""Train a model on labelled images: read, train, validate, and write the best model and its report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_tessera.core.atomic_writes import check_free, clear_up, locked, make_folder
from napari_tessera.core.checks import FLAG, PATH, PATH_OR_NONE, TEXT_OR_NONE, Types, check_types
from napari_tessera.core.errors import ModelError, ParameterError, short
from napari_tessera.core.jobs import Job, Progress, run_job, subtask
from napari_tessera.models.header import CHECKPOINT, LOCK
from napari_tessera.models.load_torch import load_torch
from napari_tessera.models.registry import find
from napari_tessera.models.safetensors import ENDING
from napari_tessera.training.annotations.read import paintings_from
from napari_tessera.training.data.sources import Source, from_index, from_paths, with_validation
from napari_tessera.training.export import TrainingResult, check_widths, describe, report_path, write_model
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.session import TrainingSession
from napari_tessera.training.settings import Training, checked_settings, words

if TYPE_CHECKING:
    from napari_tessera.training.config import TrainingConfig
    from napari_tessera.training.data.dataset import Dataset
    from napari_tessera.training.pretrained import Pretrained


def train(
    images: str | Path,
    labels: str | Path | None,
    out: str | Path,
    *,
    validate_on: tuple[str | Path, str | Path] | None = None,
    axes: str | None = None,
    restart: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a network on labelled images, and write it as a model file.

    Parameters
    ----------
    images, labels : path
        Two folders whose files are matched by their names, or two files. With `labels` None, `images` is a table (CSV)
        with columns ``image`` and ``label`` (paths beside it) or ``name`` (of files in ``images`` and ``labels`` beside
        it), and optionally ``split`` ("train" or "val").
    out : path
        The model file to write, ending in ``.safetensors``. A checkpoint is beside it during the training, and a report
        at the end.
    validate_on : pair of paths, optional
        Images and labels to choose the best weights by, instead of a share of `images`.
    axes : str, optional
        One letter for each axis of all images, with C for channels, such as "CYX". The default is read from the files.
    restart : bool
        Start again even if there is a checkpoint; otherwise the training resumes from it.
    overwrite : bool
        Replace an existing model.
    on_progress : function (Progress), optional
        Called after each step.
    **settings
        See `napari_tessera.training.settings.Training`: task, steps, seed and so on.

    Returns
    -------
    TrainingResult
        Path and header of the model.

    Raises
    ------
    ParameterError, InputError, FileError
        If a setting, an image or a file cannot be used, or the checkpoint is from another training.
    RunError
        If the training diverges.

    Notes
    -----
    If a training was killed, the same call resumes it, and gives the same weights as without the interruption. The
    model file is written completely or not at all.
    """
    given = {"images": images, "labels": labels, "out": out, "axes": axes, "restart": restart, "overwrite": overwrite}
    check_types(given, TYPES)
    checked = checked_settings(settings)
    sources = find_sources(images, labels, checked, validate_on, axes)
    return run_job(training(sources, Path(out), checked, restart=restart, overwrite=overwrite), on_progress)


def find_sources(
    images: str | Path,
    labels: str | Path | None,
    settings: Training,
    validate_on: tuple[str | Path, str | Path] | None = None,
    axes: str | None = None,
) -> list[Source]:
    """List the training and validation files; see `train`."""
    if labels is None:
        found = from_index(Path(images), words(settings.balance))
    elif settings.balance:
        raise ParameterError("Training: `balance` names columns of an index, but folders are given.", "balance")
    else:
        found = from_paths(Path(images), Path(labels))
    found = [replace(source, axes=axes) for source in found]
    if validate_on is not None:
        are_paths = isinstance(validate_on, tuple | list) and all(isinstance(each, PATH[0]) for each in validate_on)
        if not are_paths or len(validate_on) != 2:
            raise ParameterError(f"`validate_on` is {short(validate_on)}, but it must be two paths.", "validate_on")
        check = from_paths(Path(validate_on[0]), Path(validate_on[1]), "val")
        return [replace(source, split="train") for source in found] + [replace(source, axes=axes) for source in check]
    # With annotations, a share is held out within each image.
    return with_validation(found, 0 if settings.painted else settings.validation)


TYPES: Types = {
    "images": PATH,
    "labels": PATH_OR_NONE,
    "out": PATH,
    "axes": TEXT_OR_NONE,
    "restart": FLAG,
    "overwrite": FLAG,
}

Read = Callable[[Training, "Pretrained | None"], Job["Dataset"]]
"""Function that reads the dataset, given the settings and the model to start from."""


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
        return (yield from learnt_model(read, out, settings, saved, should_stop, live or LiveTraining(), overwrite))


def read_files(sources: Sequence[Source], settings: Training, start: Pretrained | None) -> Job[Dataset]:
    """Read images and labels from files: around annotations, or completely."""
    from napari_tessera.training.annotations.examples import painted_dataset
    from napari_tessera.training.data.dataset import read_dataset

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
    live: LiveTraining,
    overwrite: bool,
) -> Job[TrainingResult]:
    """Train, from the checkpoint `saved` if it exists, and write the model.

    With a length in minutes, a training whose time is over is finished: a step may take longer than when it was
    measured.
    """
    is_over = over_after(settings.minutes)
    if settings.minutes is not None:
        yield Progress(0, 1, "Starting", {"seconds": 60 * settings.minutes})
    yield from load_torch()
    from napari_tessera.training.pretrained import is_coco, read_coco_start, read_start
    from napari_tessera.training.session import on_smaller_patches

    start = read_coco_start(settings) if is_coco(settings.start_from) else read_start(settings)
    data, wanted, device = yield from prepare(read, settings, start)
    header = describe(out, settings, wanted, data)
    for doubt in data.doubts:
        yield Progress(1, 1, doubt, {"warning": doubt})
    sitting = TrainingSession(settings, data, start, header, saved, device, lambda: should_stop() or is_over(), live)
    state, plan = yield from sitting.learn(wanted)
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
    from napari_tessera.models.device import choose
    from napari_tessera.training.pretrained import check_images
    from napari_tessera.training.resolve import check_coarsest, check_memory, resolve_config, use_threads

    device = choose(settings.device)
    use_threads(settings.threads)
    data = yield from read(settings, start)
    check_images(start, data.kind, data.n_channels)
    plan = resolve_config(settings, data, device, start)
    check_widths(plan)
    check_coarsest(plan)
    check_memory(plan, device)
    return data, plan, device


def check_name(out: Path) -> None:
    """Refuse a path that does not end like a model file.

    Raises
    ------
    ParameterError
    """
    if out.suffix != ENDING:
        raise ParameterError(f"A model file ends in {ENDING}, but {out} does not. Name it {out.stem}{ENDING}.", "out")


def files_named_in(settings: Training) -> list[Path]:
    """List the files that the settings name: the card, and the model to start from."""
    files = [Path(settings.card)] if settings.card else []
    with suppress(ParameterError, ModelError):  # a wrong model is refused when it is read
        files.append(find(settings.start_from).path)
    return files
