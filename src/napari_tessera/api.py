"""From a method's name and arrays to a `Result`: check at the door, run, measure, record."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera import provenance
from napari_tessera.blocks import Blocks, check_blocks, fits_in_memory, is_stored
from napari_tessera.door import (
    Layout,
    check_axes,
    check_image,
    check_inputs,
    check_labels,
    check_spacing,
    check_stored,
    is_labels,
)
from napari_tessera.errors import InputError, RunError
from napari_tessera.frames import frame_arguments, run_region
from napari_tessera.jobs import Job, Progress, drive, forward, part_of
from napari_tessera.region import Region
from napari_tessera.registry import Method, method_named
from napari_tessera.request import Request
from napari_tessera.result import LabelImage, Result
from napari_tessera.sizes import in_pixels
from napari_tessera.spatial import Spatial
from napari_tessera.spec import Role


def segment(method: str, image: Any, **options: Any) -> Result:
    """Turn an image into labels.

    Parameters
    ----------
    method : str
        Name of a method; `tessera.methods()` lists them.
    image : array
        NumPy, dask or zarr array; for methods that work on labels, a label array. Never changed.
    axes : str, optional
        One letter per axis, such as "YX", "ZYX", "TYX", "TCZYX" or "YXC". Y, X and Z are segmented together, C holds
        channels, any other axis is taken one at a time. Guessed for 2-D to 4-D arrays.
    spacing : float or sequence of float or dict, optional
        Pixel size along z, y, x (or x alone for all, or by axis letter); None means 1.
    unit : str
        Unit of `spacing`, such as "µm".
    spatial : Spatial, optional
        Full placement, instead of `spacing` and `unit`.
    region : Region, optional
        Planes and outlines to work inside; the labels elsewhere are 0.
    sizes_in : "px" or "unit"
        Whether lengths and areas among the parameters are in pixels or in the image's unit.
    measure : bool
        Whether to measure every object for the table.
    name : str
        Name of the image, kept in the record.
    made_by : dict of str to record, optional
        Records of how inputs were made; a replay on another image makes them anew.
    blocks : int or sequence of int or True, optional
        Side of a block in pixels (or one per z, y, x): the image is read, labelled and written block by block, and may
        be larger than memory. Dask and zarr arrays too large for memory are run in blocks by themselves.
    workers : int, optional
        Threads that work on blocks; one per processor if not given.
    scheduler : str, optional
        Address of a dask.distributed scheduler to work on blocks instead.
    out : path, optional
        Folder for a new zarr array that the labels are written to.
    **inputs_and_parameters
        What the method's own signature lists.

    Returns
    -------
    Result

    Raises
    ------
    ParameterError, InputError
        Before any work starts, naming what was given, what is needed and what to do.

    Examples
    --------
    >>> import numpy as np, napari_tessera as tessera
    >>> image = np.zeros((8, 8)); image[2:5, 2:5] = 1
    >>> tessera.segment("threshold", image, smoothing=0).labels.max()
    np.int32(1)
    """
    return drive(job(bind(method, image, **options)))


def bind(
    method: str,
    image: Any,
    *,
    axes: str | None = None,
    spacing: float | Sequence[float] | Mapping[str, float] | None = None,
    unit: str = "pixel",
    spatial: Spatial | None = None,
    region: Region | None = None,
    sizes_in: str = "px",
    measure: bool = True,
    name: str = "",
    made_by: Mapping[str, Any] | None = None,
    blocks: int | Sequence[int] | bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
    **inputs_and_parameters: Any,
) -> Request:
    """Check everything before any work starts; arguments as for `segment`."""
    chosen = method_named(method)
    declaration = chosen.declaration
    main_name = chosen.inputs[0].name
    if image is None:
        raise InputError(f"{chosen.name}: `{main_name}` is missing. Choose a layer or give an array.")
    main, layout, in_blocks = _main_input(
        chosen, image, axes, region, {"blocks": blocks, "workers": workers, "scheduler": scheduler, "out": out}
    )
    if layout.has_channels and "channel_axis" not in declaration.context:
        raise InputError(f"{chosen.name} takes no channels, but the axes are {layout.axes}.")
    sizes = check_spacing(spacing if spatial is None else _spacing_of(spatial, layout), layout)
    names = {entry.name for entry in chosen.inputs[1:]}
    settings = {key: value for key, value in inputs_and_parameters.items() if key not in names}
    parameters = declaration.checked(in_pixels(settings, chosen, sizes, len(layout.space), sizes_in))
    used = {entry.name for entry in chosen.inputs[1:] if entry.matters(parameters)}
    given = {key: value for key, value in inputs_and_parameters.items() if key in used}
    inputs = {main_name: main, **check_inputs(declaration, given, layout, main.shape)}
    return Request(
        chosen,
        inputs,
        _points_among(chosen, inputs, layout.label_shape(main.shape)),
        layout,
        sizes,
        parameters,
        _placed(spatial, layout, sizes, unit),
        name,
        region,
        dict(made_by or {}),
        measure,
        in_blocks,
    )


def _main_input(
    method: Method, image: Any, axes: str | None, region: Region | None, in_blocks: Mapping[str, Any]
) -> tuple[Any, Layout, Blocks | None]:
    """Check the image, and leave it where it lies if only parts of it are to be read."""
    name = f"{method.name}: `{method.inputs[0].name}`"
    if not is_stored(image):
        image = check_image(image, name) if method.takes_image else check_labels(image, name)
    check_stored(image, name)
    layout = check_axes(axes, image.shape, image.dtype)
    blocks = check_blocks(method, len(layout.space), **in_blocks)
    if blocks is not None and region is not None:
        raise InputError("A region and blocks do not go together. Cut the image first, or leave out one of them.")
    if is_stored(image) and blocks is None and region is None:
        if method.join is not None and not fits_in_memory(image):
            return image, layout, check_blocks(method, len(layout.space), blocks=True)
        image = check_image(image, name) if method.takes_image else check_labels(image, name)
    return image, layout, blocks


def job(request: Request) -> Job[Result]:
    """Run a request: yields `Progress`, returns the `Result`."""
    started, clock = provenance.now(), time.perf_counter()
    yield Progress(0, 100, "Starting")
    try:
        labels, table = yield from part_of(forward(run_region(request)), 0, 95, 100)
    except MemoryError as error:
        raise RunError(
            f"{request.method.name} ran out of memory on an image of shape {request.main.shape}. "
            "Segment a region or one plane, or close other programs."
        ) from error
    yield Progress(95, 100, "Recording")
    record = _record(request, started, round(time.perf_counter() - clock, 3))
    image = LabelImage(request.method.name, labels, request.spatial, request.kind, table)
    return Result((image,), record, _notes(image))


def run(recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]], image: Any, **inputs: Any) -> Result:
    """Replay a record, or a list of them one after the other.

    Parameters
    ----------
    recipe : dict or list of dict
        `Result.provenance`, or several; a step that works on labels takes those of the step before.
    image : array
        The same image for the same labels, bit for bit, or another one.
    **inputs
        Arrays that the record only describes because they were too large to keep (markers, masks), by name, and
        `spatial` or `name`.

    Returns
    -------
    Result
        Of the last step.

    Raises
    ------
    InputError
        If the recipe is none, is from a newer version, or needs an input that it does not hold.
    """
    return drive(replay(recipe, image, **inputs))


def replay(recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]], image: Any, **inputs: Any) -> Job[Result]:
    """`run` as a job."""
    steps = list(recipe) if isinstance(recipe, (list, tuple)) else [recipe]
    if not steps:
        raise InputError("The recipe is an empty list, but it needs at least one step.")
    result: Result | None = None
    for done, step in enumerate(steps):
        record = provenance.check_record(step)
        takes_labels = not method_named(record["method"]).takes_image
        main = result.labels if takes_labels and result is not None else image
        request = yield from part_of(_bound_again(record, main, image, inputs), done, 0.1, len(steps))
        result = yield from part_of(job(request), done + 0.1, 0.9, len(steps))
    assert result is not None
    return result


def plain(method: Method) -> Callable[..., Any]:
    """Make the function a user calls by the method's own name: arrays in, array(s) out, checked and drained."""
    function = method.function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        image = arguments.pop(method.inputs[0].name)
        channel_axis = arguments.pop("channel_axis", None)
        ndim = np.ndim(image)
        axes = _axes_of(ndim, channel_axis)
        request = bind(method.name, image, axes=axes, **arguments)
        return drive(function(**frame_arguments(request)))

    return call


def _axes_of(ndim: int, channel_axis: int | None) -> str:
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
        raise InputError(f"`channel_axis` is {channel_axis}, but the image has {ndim} axes.")
    place = channel_axis % ndim
    return f"{axes[:place]}C{axes[place:]}"


def _spacing_of(spatial: Spatial, layout: Layout) -> tuple[float, ...]:
    sizes = dict(zip(layout.label_axes, spatial.scale, strict=True))
    return tuple(abs(sizes[axis]) or 1.0 for axis in layout.space)


def _placed(spatial: Spatial | None, layout: Layout, spacing: tuple[float, ...] | None, unit: str) -> Spatial:
    axes = layout.label_axes
    if spatial is not None:
        return replace(spatial, axes=axes)
    sizes = dict(zip(layout.space, spacing or (1.0,) * len(layout.space), strict=True))
    return Spatial.with_spacing(axes, [sizes[axis] for axis in axes if axis in sizes], unit)


def _points_among(method: Method, inputs: Mapping[str, np.ndarray | None], shape: tuple[int, ...]) -> frozenset[str]:
    return frozenset(
        entry.name for entry in method.inputs if Role.POINTS in entry.roles and not is_labels(inputs[entry.name], shape)
    )


def _record(request: Request, started: str, seconds: float) -> dict[str, Any]:
    inputs: dict[str, Any] = {request.main_name: {"name": request.name, **provenance.describe(request.main)}}
    for name, array in request.inputs.items():
        if name != request.main_name:
            inputs[name] = None if array is None else provenance.embed(array)
    for name, made_by in request.made_by.items():
        if inputs.get(name) is not None:
            inputs[name]["made_by"] = made_by
    return provenance.make_record(
        request.method.name,
        request.parameters,
        request.layout.axes,
        request.spacing,
        inputs,
        unit=request.spatial.unit,
        region=request.region and request.region.to_json(),
        blocks=request.blocks and request.blocks.to_json(),
        model=None,
        started=started,
        seconds=seconds,
    )


def _bound_again(record: dict[str, Any], main: Any, image: Any, inputs: dict[str, Any]) -> Job[Request]:
    method = method_named(record["method"])
    described = record.get("inputs", {})
    options = {name: value for name, value in inputs.items() if name in ("spatial", "name", "measure")}
    for number, entry in enumerate(method.inputs):
        kept = described.get(entry.name)
        same = number == 0 or kept is None or entry.name in inputs
        if kept is not None and "made_by" in kept and entry.name not in inputs and main is image:
            made = yield from replay(kept["made_by"], image)
            main, options = (made.labels, options) if number == 0 else (main, {**options, entry.name: made.labels})
        elif entry.name in inputs:
            options[entry.name] = inputs[entry.name]
        elif not same:
            options[entry.name] = _kept_array(entry.name, kept)
    yield Progress(1, 1, "Checking")
    return bind(
        method.name,
        main,
        axes=record["axes"],
        spacing=record.get("spacing"),
        unit=record.get("unit", "pixel"),
        region=Region.from_json(record.get("region")),
        **options,
        **record["parameters"],
    )


def _kept_array(name: str, kept: Mapping[str, Any]) -> np.ndarray:
    array = provenance.embedded(kept)
    if array is None:
        raise InputError(f"The recipe was made with a large `{name}` that it does not hold. Give it as {name}=array.")
    return array


def _notes(image: LabelImage) -> tuple[str, ...]:
    if not isinstance(image.data, np.ndarray) or image.data.any():
        return ()
    return ("Nothing was found: every label is 0. Try another rule, or less strict settings.",)
