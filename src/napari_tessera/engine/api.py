"""The Python interface: `segment`, `run`, and a function for each method."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from napari_tessera.core.checks import READERS, as_array, refuse_file_name
from napari_tessera.core.errors import InputError, ParameterError, short
from napari_tessera.core.jobs import Job, Progress, run_job
from napari_tessera.core.method import Method
from napari_tessera.core.result import MethodOutput, Result, with_seconds
from napari_tessera.core.spatial import CHANNEL, Spatial, guess_axes
from napari_tessera.core.spec import ARRAYS
from napari_tessera.engine.bind import bind, is_stored
from napari_tessera.engine.replay import replay
from napari_tessera.engine.run import job, run_frame

__all__ = ["bind", "job", "plain", "replay", "run", "segment", "segment_steps"]

Returned = TypeVar("Returned")
OnProgress = Callable[[Progress], None]
VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


def _with_options_of_bind(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Write the options that `bind` takes into the signature, so that they are listed and complete."""
    own = inspect.signature(function, eval_str=True)
    shown = inspect.signature(bind, eval_str=True).parameters
    given = {name: argument for name, argument in own.parameters.items() if argument.kind is not VAR_KEYWORD}
    ordered = sorted({**shown, **given}.values(), key=lambda argument: argument.kind)
    vars(function)["__signature__"] = own.replace(parameters=ordered)
    return function


@_with_options_of_bind
def segment(
    method: str, /, image: Any, *, progress: Callable[[Progress], None] | None = None, **options: Any
) -> Result:
    """Turn an image into labels.

    Parameters
    ----------
    method : str
        Name of a method; `tessera.list_methods()` lists them.
    image : array
        NumPy, dask or zarr array; for methods that work on labels, a label array. It is not changed.
    axes : str, optional
        One letter per axis, such as "YX", "ZYX", "TYX", "TCZYX" or "YXC". Y, X and Z are segmented together, C holds
        channels, other axes are processed one index at a time. Guessed for 2-D to 4-D arrays.
    spacing : float or sequence of float or dict, optional
        Pixel size along z, y, x (or x alone for all, or by axis letter); None means 1.
    unit : str
        Unit of `spacing`, such as "µm".
    spatial : Spatial, optional
        Full placement, instead of `spacing` and `unit`.
    region : Region, optional
        Planes and outlines to segment; the labels elsewhere are 0.
    units : "px" or "physical"
        Whether lengths and areas among the parameters are in pixels, or in the unit of the pixel size.
    measure : bool
        Whether to measure every object for the table.
    name : str
        Name of the image, kept in the record.
    input_records : dict of str to record, optional
        Records of how inputs were made; a replay on another image makes them again.
    blocks : int or sequence of int or True, optional
        Side of a block in pixels (or one per z, y, x): the image is read, labelled and written block by block, and may
        be larger than memory. Dask and zarr arrays that are too large for memory always run in blocks.
    n_workers : int, optional
        Threads for blocks; by default one per core. Negative numbers, as in scikit-learn's `n_jobs`, are refused.
    scheduler : str, optional
        Address of a dask.distributed scheduler to use instead.
    out : path, optional
        Folder for a new zarr array with the labels.
    progress : function, optional
        Called with a `Progress` after each step. An exception that it raises cancels the run.
    **inputs_and_parameters
        The arguments in the method's signature.

    Returns
    -------
    Result

    Raises
    ------
    ParameterError, InputError
        Before any work starts; the message says what was given, what is needed and what to do.

    Examples
    --------
    >>> import numpy as np, napari_tessera as tessera
    >>> image = np.zeros((8, 8)); image[2:5, 2:5] = 1
    >>> tessera.segment("threshold", image, sigma=0).labels.max()
    np.int32(1)
    """
    begin = time.perf_counter()
    return with_seconds(run_job(segment_steps(method, image, **options), progress), begin)


@_with_options_of_bind
def segment_steps(method: str, /, image: Any, **options: Any) -> Job[Result]:
    """Check the arguments of `segment` at once, and return the run as a generator.

    Parameters
    ----------
    method, image, **options
        As for `segment`.

    Returns
    -------
    generator of Progress
        Each `next` runs one step, and closing the generator cancels the run. It returns the `Result`.

    Examples
    --------
    >>> import numpy as np, napari_tessera as tessera
    >>> image = np.zeros((8, 8)); image[2:5, 2:5] = 1
    >>> steps = tessera.segment_steps("threshold", image)
    >>> next(steps)
    Progress(done=0, total=100, text='Starting', data=None)
    >>> steps.close()
    """
    return job(bind(method, image, **options))


def run(
    recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    image: Any,
    *,
    spatial: Spatial | None = None,
    name: str = "",
    measure: bool = True,
    progress: OnProgress | None = None,
    **inputs: Any,
) -> Result:
    """Replay a record, or a list of records one after the other.

    Parameters
    ----------
    recipe : dict or list of dict
        `Result.provenance`, or several; a step that works on labels uses those of the previous step.
    image : array
        The same image for exactly the same labels, or another one.
    spatial : Spatial, optional
        Placement of the image, instead of the pixel size in the record.
    name : str
        Name of the image, kept in the new record.
    measure : bool
        Whether to measure every object for the table.
    progress : function, optional
        Called with a `Progress` after each step. An exception that it raises cancels the run.
    **inputs
        Arrays that were too large for the record (markers, masks), by name.

    Returns
    -------
    Result
        Of the last step.

    Raises
    ------
    InputError
        If the recipe is invalid, is from a newer version, or needs an input that it does not contain.
    """
    begin = time.perf_counter()
    replaying = replay(recipe, image, spatial=spatial, name=name, measure=measure, **inputs)
    return with_seconds(run_job(replaying, progress), begin)


def plain(method: Method) -> Callable[..., Any]:
    """Make the public function of a method: arrays in, array(s) out, with checks."""
    signature = method.declaration.plain_signature

    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = _arguments_of(method, signature, args, kwargs)
        image = _main_among(arguments, method)
        is_guessed = "channel_axis" in method.declaration.context and "channel_axis" not in arguments
        axes = _axes_of(image, arguments.pop("channel_axis", None), is_guessed)
        if (valid := arguments.pop("valid", None)) is not None:
            image = _masked(image, valid, axes, method)
        request = bind(method.name, image, axes=axes, **arguments)
        if request.blocks is not None:
            from napari_tessera.engine.blockwise import run_in_blocks

            found = run_job(run_in_blocks(request))
        else:
            found = run_job(run_frame(replace(request, measure=False), (), None))
        return as_arrays(found) if method.declaration.has_more_than_labels else found.labels

    call.__name__ = call.__qualname__ = method.name
    call.__doc__, call.__module__ = method.function.__doc__, "napari_tessera"
    vars(call)["__signature__"] = signature
    return call


def _arguments_of(
    method: Method, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Bind each argument to its name; omitted ones are missing."""
    for name in kwargs:
        if name in signature.parameters:
            continue
        error = method.declaration.unknown(name)
        if name not in inspect.getfullargspec(bind).kwonlyargs:
            raise error
        raise ParameterError(f'{error} Give `{name}` to tessera.segment("{method.name}", …).', name)
    try:
        return dict(signature.bind_partial(*args, **kwargs).arguments)
    except TypeError as error:
        arrays = ", ".join(f"`{entry.name}`" for entry in method.inputs)
        raise InputError(
            f"{method.name}: {error}. Only the arrays can be given by position ({arrays}), each once; settings are "
            "given by name."
        ) from error


def _main_among(arguments: dict[str, Any], method: Method) -> Any:
    """Remove the image, or the labels, from the arguments and return it."""
    main = method.inputs[0]
    name = f"{method.name}: `{main.name}`"
    image = arguments.pop(main.name, None)
    if image is None:
        raise InputError(f"{name} is missing. Give an array.")
    refuse_file_name(image, name, READERS[main.roles[0]])
    return image if is_stored(image) else as_array(image, name)


def _masked(image: Any, valid: Any, axes: str, method: Method) -> np.ma.MaskedArray:
    """Mask an image where it is not valid."""
    valid = as_array(valid, f"{method.name}: `valid`").astype(bool)
    shape = tuple(side for axis, side in zip(axes, np.shape(image), strict=True) if axis != CHANNEL)
    if valid.shape != shape:
        raise InputError(f"{method.name}: `valid` has shape {valid.shape}, but the image needs {shape}.")
    if CHANNEL in axes:
        valid = np.expand_dims(valid, axes.index(CHANNEL))
    return np.ma.MaskedArray(image, np.broadcast_to(~valid, np.shape(image)))


def as_arrays(found: MethodOutput) -> Any:
    """Return a method's output as named arrays: labels, further images and the table."""
    arrays = {"labels": found.labels, **{other.name: other.data for other in found.others}, "table": found.table}
    return ARRAYS.get(tuple(arrays), lambda *parts: parts)(*arrays.values())


def _axes_of(image: Any, channel_axis: int | None, is_guessed: bool) -> str:
    """Name the axes of an array; channels are at `channel_axis`, or guessed from shape and dtype."""
    ndim = np.ndim(image)
    if is_guessed and ndim in (3, 4):
        guessed = guess_axes(np.shape(image), np.dtype(image.dtype))
        channel_axis = ndim - 1 if guessed.endswith(CHANNEL) else None
    if channel_axis is not None and (isinstance(channel_axis, bool) or not isinstance(channel_axis, int | np.integer)):
        raise InputError(f"`channel_axis` is {short(channel_axis)}, but it must be a whole number, or None.")
    n_space = ndim if channel_axis is None else ndim - 1
    if n_space not in (2, 3):
        raise InputError(
            f"The array has {n_space} spatial axes, but it needs 2 (y, x) or 3 (z, y, x); name the axis of channels "
            "with `channel_axis`, or use tessera.segment with `axes` for time series."
        )
    axes = "ZYX"[-n_space:]
    if channel_axis is None:
        return axes
    if not -ndim <= channel_axis < ndim:
        raise InputError(f"`channel_axis` is {short(channel_axis)}, but the image has {ndim} axes.")
    place = channel_axis % ndim
    return f"{axes[:place]}C{axes[place:]}"
