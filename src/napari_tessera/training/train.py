"""`train` and `fine_tune`: labelled or annotated images in, a model and its report out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_tessera.core.checks import FLAG, PATH, PATH_OR_NONE, TEXT_OR_NONE, Types, check_types
from napari_tessera.core.errors import ParameterError, short
from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.core.spatial import Layout, check_spacing
from napari_tessera.io.read import read_image, read_labels
from napari_tessera.models.registry import user_folder
from napari_tessera.models.safetensors import ENDING
from napari_tessera.training.annotations.annotation import AnnotatedImage
from napari_tessera.training.annotations.read import named, painting_from, painting_of
from napari_tessera.training.data.sources import Source, from_index, from_paths, with_validation
from napari_tessera.training.export import TrainingResult
from napari_tessera.training.session import fine_tuning, training
from napari_tessera.training.settings import Training, checked_settings, shows_settings, words

TYPES: Types = {"axes": TEXT_OR_NONE, "restart": FLAG, "overwrite": FLAG}
TRAIN_TYPES: Types = {"images": PATH, "labels": PATH_OR_NONE, "out": PATH, **TYPES}
FINE_TUNE_TYPES: Types = {"out": PATH_OR_NONE, "start_from": TEXT_OR_NONE, **TYPES}
NAME = "fine-tuned"
Given = Any
"""An array, or the path of a file."""


@shows_settings
def train(
    images: str | Path,
    labels: str | Path | None,
    out: str | Path,
    *,
    validate_on: tuple[str | Path, str | Path] | None = None,
    axes: str | None = None,
    series: int | str | None = None,
    number_colors: bool = False,
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
    series, number_colors
        How files with several images, and label pictures in colour, are read; see `napari_tessera.io.read_labels`.
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
    check_types(given, TRAIN_TYPES)
    checked = checked_settings(settings)
    reading = {"axes": axes, "series": series, "number_colors": number_colors}
    sources = find_sources(images, labels, checked, validate_on, **reading)
    return run_job(training(sources, Path(out), checked, restart=restart, overwrite=overwrite), on_progress)


def find_sources(
    images: str | Path,
    labels: str | Path | None,
    settings: Training,
    validate_on: tuple[str | Path, str | Path] | None = None,
    **reading: Any,
) -> list[Source]:
    """List the training and validation files; see `train`. `reading` are further fields of `Source`."""
    if labels is None:
        found = from_index(Path(images), words(settings.balance))
    elif settings.balance:
        raise ParameterError("Training: `balance` names columns of an index, but folders are given.", "balance")
    else:
        found = from_paths(Path(images), Path(labels))
    found = [replace(source, **reading) for source in found]
    if validate_on is not None:
        are_paths = isinstance(validate_on, tuple | list) and all(isinstance(each, PATH[0]) for each in validate_on)
        if not are_paths or len(validate_on) != 2:
            raise ParameterError(f"`validate_on` is {short(validate_on)}, but it must be two paths.", "validate_on")
        check = from_paths(Path(validate_on[0]), Path(validate_on[1]), "val")
        return [replace(source, split="train") for source in found] + [replace(source, **reading) for source in check]
    # With annotations, a share is held out within each image.
    return with_validation(found, 0 if settings.painted else settings.validation)


@shows_settings
def fine_tune(
    images: Given | Sequence[Given],
    painted: Given | Sequence[Given],
    out: str | Path | None = None,
    *,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
    start_from: str | None = None,
    restart: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a network on annotations of images: strokes, filled outlines, whole objects.

    Parameters
    ----------
    images : array, path, or sequence of these
        (Y, X), (Z, Y, X) or (T, Z, Y, X), with channels last if any; NumPy, dask or zarr. Only the parts around the
        annotation are kept in memory. Files in two folders are matched by their names.
    painted : integer array, path, or sequence of these
        The annotation of each image, of the same shape without channels: 0 is not annotated and never counts, 1 is
        background, 2… are classes, or objects. Give an image with several annotations once for each.
    out : path, optional
        The model file to write, ending in ``.safetensors``. The default is a new name in the folder of the user's
        models, which all lists of models show.
    axes : str, optional
        One letter for each axis of the images, with C for channels, such as "TYX". The default is read from the file;
        for arrays, the axes of the annotation, with channels last.
    spacing : sequence of float, optional
        Pixel size along the spatial axes, for volumes; files contain it.
    start_from : str, optional
        Name or path of a model to start from, "nothing", or "coco" for a Mask R-CNN. The default is a shipped model for
        objects in planes (`training.settings.usual_start`), otherwise nothing, because classes are then learnt faster.
    restart, overwrite : bool
        Start again even if a training could be resumed; replace an existing model.
    on_progress : function (Progress), optional
        Called after each step.
    **settings
        See `napari_tessera.training.settings.Training`: task, loss, minutes, seed and so on.

    Returns
    -------
    TrainingResult
        Paths of the model and its report, and the model's header.

    Raises
    ------
    ParameterError, InputError, FileError, ModelError
        If a setting, an image, a file or the model to start from cannot be used.
    RunError
        If the training diverges.

    Notes
    -----
    ``tessera train IMAGES PAINTED --painted`` does the same, and gives the same weights for the same seed.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).normal(size=(64, 64)) + 9 * (np.arange(64) > 32)
    >>> paint = np.zeros((64, 64), np.uint8)
    >>> paint[10:12, 5:20], paint[10:12, 40:60] = 1, 2
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     trained = fine_tune(
    ...         image, paint, folder + "/sides.safetensors", start_from="nothing", task="classes",
    ...         classes="left,right", steps=2, batch=1, patch=32, widths="4,8",
    ...     )
    >>> trained.header["classes"]
    ['left', 'right']
    """
    given = {"out": out, "axes": axes, "start_from": start_from, "restart": restart, "overwrite": overwrite}
    check_types(given, FINE_TUNE_TYPES)
    checked = painted_settings(start_from, settings)
    pairs = paired(images, painted)
    paintings = [
        given_painting(index, *pair, checked.ndim, axes=axes, spacing=spacing) for index, pair in enumerate(pairs)
    ]
    inputs = [Path(each) for pair in pairs for each in pair if isinstance(each, str | Path)]
    target = free_name(checked) if out is None else Path(out)
    job = fine_tuning(paintings, target, checked, inputs=inputs, restart=restart, overwrite=overwrite)
    return run_job(job, on_progress)


def painted_settings(start_from: str | None, settings: Mapping[str, Any]) -> Training:
    """Check the settings of a training on annotations; without a model to start from it is the usual one."""
    chosen = {"start_from": start_from} if start_from else {}
    return checked_settings({**settings, **chosen, "painted": True})


def paired(images: Given | Sequence[Given], painted: Given | Sequence[Given]) -> list[tuple[Given, Given]]:
    """Pair images with their annotations; refuse different numbers of them, or none."""
    if isinstance(images, str | Path) and isinstance(painted, str | Path):
        return [(source.image, source.labels) for source in from_paths(Path(images), Path(painted))]
    several = (list, tuple)
    ones = list(images) if isinstance(images, several) else [images]
    others = list(painted) if isinstance(painted, several) else [painted]
    if not ones:
        raise ParameterError("fine_tune: `images` is empty. Give at least one image and its annotation.", "images")
    if len(ones) != len(others):
        raise ParameterError(
            f"fine_tune: there are {len(ones)} images, but {len(others)} `painted`. Give one annotation per image.",
            "painted",
        )
    return list(zip(ones, others, strict=True))


def given_painting(
    index: int,
    image: Given,
    paint: Given,
    ndim: int,
    *,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
) -> AnnotatedImage:
    """Pair one image with its annotation, each an array or the path of a file.

    A FileError or InputError says that a file cannot be opened, an input is neither an array nor a path, or the two do
    not match.
    """
    name = named(image, index)
    if isinstance(image, str | Path) and isinstance(paint, str | Path):
        return painting_from(Source(name, Path(image), Path(paint), axes=axes), ndim)
    if isinstance(image, str | Path):
        picture = read_image(image, axes=axes)
        image, axes = picture.data, picture.axes
    if isinstance(paint, str | Path):
        paint = read_labels(paint).data
    return painting_of(name, image, paint, ndim, axes=axes, anisotropy=anisotropy_of(spacing, ndim))


def anisotropy_of(spacing: Any, ndim: int) -> float:
    """Return the distance of planes divided by the pixel size; 1 if it is not given, and for planes."""
    sizes = check_spacing(spacing, Layout("ZYX")) if ndim == 3 else None
    return sizes[0] / sizes[-1] if sizes else 1.0


def free_name(settings: Training) -> Path:
    """Return a path in the folder of the user's models: the name in the settings, or a new one."""
    folder = user_folder()
    if settings.name is not None:
        return folder / (settings.name + ENDING)
    names = [NAME, *(f"{NAME}-{number}" for number in range(2, 1000))]
    return next(folder / (name + ENDING) for name in names if not (folder / (name + ENDING)).exists())
