"""Check a method's name, arrays and parameters, and bind them to a `Request` that can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.checks import (
    FLAG,
    PATH_OR_NONE,
    Types,
    check_image,
    check_inputs,
    check_labels,
    check_stored,
    check_types,
    is_labels,
    note_on_large_labels,
    note_on_opacity,
    split_mask,
)
from napari_tessera.core.errors import InputError, ParameterError, did_you_mean, short
from napari_tessera.core.memory import explaining_lack_of_memory, free_bytes
from napari_tessera.core.method import Method, Parameter
from napari_tessera.core.region import Crop, Region, resolve
from napari_tessera.core.result import Kind
from napari_tessera.core.spatial import (
    CHANNEL,
    Layout,
    Spatial,
    check_axes,
    check_spacing,
    check_unit,
    note_on_colours,
    note_on_unknown_sizes,
    spatial_axes,
)
from napari_tessera.core.spec import Role
from napari_tessera.core.valid_area import Fill
from napari_tessera.methods.registry import method_named
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import TITLES

BLOCK_PX = {2: (2048, 2048), 3: (64, 512, 512)}
MOST_WORKERS = 1024
SHARE_OF_MEMORY = 0.25
"""An array larger than this share of the free memory is not loaded, but processed in blocks."""
LARGE_PX = 2**24
"""If labels go to a folder, a larger image is not loaded, and its objects are not measured."""


@dataclass(frozen=True)
class Blocks:
    """How to run in blocks: None for one thread per core, for threads of this process, and for labels in memory."""

    size: tuple[int, ...]
    n_workers: int | None = None
    scheduler: str | None = None
    out: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a replay needs: the size of the blocks."""
        return {"size": list(self.size)}


def check_blocks(
    method: Method,
    ndim: int,
    *,
    blocks: int | Sequence[int] | bool | None = None,
    n_workers: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
) -> Blocks | None:
    """Return how to run in blocks, or None if no argument asks for blocks."""
    if (blocks is None or blocks is False) and n_workers is None and scheduler is None and out is None:
        return None
    if method.join is None:
        raise InputError(
            f"{method.name} needs the whole image at once and cannot run in blocks. Leave out `blocks`, `n_workers`, "
            "`scheduler` and `out`, or segment a region."
        )
    if n_workers is not None and (type(n_workers) is not int or not 1 <= n_workers <= MOST_WORKERS):
        raise InputError(
            f"`n_workers` is {short(n_workers)}, but it must be a whole number of threads, 1 to {MOST_WORKERS}."
        )
    if out is not None:
        from napari_tessera.engine.blockwise import check_is_new

        check_is_new(Path(out))
    return Blocks(_size(blocks, ndim, method), n_workers, scheduler, None if out is None else str(out))


def _size(blocks: int | Sequence[int] | bool | None, ndim: int, method: Method) -> tuple[int, ...]:
    if blocks is None or isinstance(blocks, bool):
        return (method.block_px or BLOCK_PX)[ndim]
    size = tuple(blocks) if isinstance(blocks, Sequence) else (blocks,) * ndim
    if len(size) != ndim or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in size):
        raise InputError(f"`blocks` is {short(blocks)}, but it needs one side in pixels, or {ndim} (along z, y, x).")
    smallest = method.smallest_block_px.get(ndim, (1,) * ndim)
    if any(side < least for side, least in zip(size, smallest, strict=True)):
        sides = " × ".join(map(str, reversed(smallest)))
        raise InputError(
            f"`blocks` is {short(blocks)}, but each block of {method.name} is read with its surroundings, so small "
            f"ones take very long. The smallest is {sides} px (x first); the default, blocks=True, is best."
        )
    return tuple(int(side) for side in size)


def is_stored(image: Any) -> bool:
    """Return whether an array is read piece by piece (dask, zarr) and not in memory."""
    return not isinstance(image, np.ndarray) and hasattr(image, "shape") and hasattr(image, "chunks")


def fits_in_memory(image: Any) -> bool:
    """Return whether an array needs only a modest share of the free memory."""
    n_bytes = int(np.prod([int(side) for side in image.shape], dtype=np.int64)) * np.dtype(image.dtype).itemsize
    return n_bytes <= SHARE_OF_MEMORY * free_bytes()


def is_large(image: Any) -> bool:
    """Return whether an array is so large that it is not loaded if labels go to a folder."""
    return int(np.prod([int(side) for side in image.shape], dtype=np.int64)) > LARGE_PX


@dataclass(frozen=True)
class Request:
    """A checked run."""

    method: Method
    inputs: Mapping[str, np.ndarray | None]
    points: frozenset[str]
    """Names of the inputs that are points; the others have the image's shape."""
    layout: Layout
    spacing: tuple[float, ...] | None
    parameters: Mapping[str, Any]
    spatial: Spatial
    """Placement of the labels."""
    name: str = ""
    region: Region | None = None
    input_records: Mapping[str, Any] = field(default_factory=dict)
    """How inputs were made, if known; a replay on another image makes them again."""
    measure: bool = True
    blocks: Blocks | None = None
    """None runs on the whole image."""
    notes: tuple[str, ...] = ()
    """Notes on how the input was read."""
    masked: Any = None
    """Where a masked array is masked, with the axes of the labels."""
    fill: Fill | None = None
    """What of the image is no image, if the image is a part of a larger one in which that was found."""
    models: Mapping[str, catalogue.ModelEntry] = field(default_factory=dict)
    """The models that parameters name, found once, by the name of the parameter."""

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters for the method's function, with models in place of their names."""
        return {**self.parameters, **self.models}

    @property
    def main_name(self) -> str:
        """Name of the main input in the method's signature."""
        return self.method.inputs[0].name

    @property
    def main(self) -> np.ndarray:
        """The image (or the labels) that the method works on."""
        main = self.inputs[self.main_name]
        assert main is not None
        return main

    @property
    def kind(self) -> Kind:
        """What the labels are."""
        return self.method.kind_of(self.parameters)

    @property
    def loop_shape(self) -> tuple[int, ...]:
        """Lengths of the axes that are processed one index at a time."""
        size = dict(zip(self.layout.axes, self.main.shape, strict=True))
        return tuple(int(size[axis]) for axis in self.layout.loops)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return self.layout.label_shape(self.main.shape)


def cropped(request: Request) -> tuple[Request, Crop]:
    """Crop every input to the request's region, which must not be None."""
    assert request.region is not None
    crop = resolve(request.region, request.layout, request.main.shape)
    layout = Layout(crop.kept_axes, request.layout.has_one_plane and "Z" in crop.kept_axes)
    spacing = request.spacing and tuple(
        size for axis, size in zip(request.layout.space, request.spacing, strict=True) if axis in layout.space
    )
    inputs = {name: _cut(name, array, request, crop) for name, array in request.inputs.items()}
    masked = None if request.masked is None else np.asarray(request.masked[crop.index_for(request.layout.label_axes)])
    return replace(request, inputs=inputs, masked=masked, layout=layout, spacing=spacing, region=None), crop


def _cut(name: str, array: np.ndarray | None, request: Request, crop: Crop) -> np.ndarray | None:
    if array is None:
        return None
    if name in request.points:
        return crop.points(array, request.layout.label_axes)
    axes = request.layout.axes if name == request.main_name else request.layout.label_axes
    part = array[crop.index_for(axes)]
    if isinstance(array, np.ndarray) and (name != request.main_name or array.dtype.kind != "f"):
        return np.ascontiguousarray(part)
    return _in_memory(part, request.method, f"{request.method.name}: `{name}`")


def _in_memory(values: Any, method: Method, name: str) -> np.ndarray:
    """Load and check the main input."""
    if not method.takes_image:
        return check_labels(values, name)
    image = check_image(values, name, may_have_nan=True)
    if image.dtype.kind == "f" and not np.isfinite([image.min(), image.max()]).any() and not np.isfinite(image).any():
        raise InputError(f"{name} is NaN or infinite in every pixel.")
    return image


POWERS = {"px": 1}
AREA = "px²"


def power_of(parameter: Parameter, ndim: int) -> int:
    """Return the power of the pixel size in a parameter's unit: 1 for lengths, `ndim` for areas and volumes, else 0."""
    if parameter.range.unit == AREA:
        return ndim
    return POWERS.get(parameter.range.unit, 0)


def pixel_volume(spacing: tuple[float, ...], power: int) -> float:
    """Return one pixel in the image's unit: its length along X, or its area or volume."""
    if power == 1:
        return spacing[-1]
    volume = 1.0
    for size in spacing[-power:] if power else ():
        volume *= size
    return volume


def in_pixels(
    settings: Mapping[str, Any],
    method: Method,
    spacing: tuple[float, ...] | None,
    ndim: int,
    units: str,
) -> dict[str, Any]:
    """Convert lengths and areas in the image's unit to pixels; whole-number parameters are rounded."""
    if not isinstance(units, str) or units not in ("px", "physical"):
        raise InputError(f'`units` is {short(units)}, but it must be "px" or "physical".')
    if units == "px":
        return dict(settings)
    if spacing is None:
        raise InputError("Sizes are given in the image's unit, but its pixel size is not known. Give `spacing`.")
    converted = dict(settings)
    for parameter in method.parameters:
        power = power_of(parameter, ndim)
        value = settings.get(parameter.name)
        if power and isinstance(value, (int, float)) and not isinstance(value, bool):
            with suppress(OverflowError):  # such a number is refused later
                pixels = value / pixel_volume(spacing, power)
                converted[parameter.name] = round(pixels) if parameter.kind is int and isfinite(pixels) else pixels
    return converted


def bind(
    method: str,
    /,
    image: Any,
    *,
    axes: str | None = None,
    spacing: float | Sequence[float] | Mapping[str, float] | None = None,
    unit: str = "pixel",
    spatial: Spatial | None = None,
    region: Region | None = None,
    units: str = "px",
    measure: bool = True,
    name: str = "",
    input_records: Mapping[str, Any] | None = None,
    blocks: int | Sequence[int] | bool | None = None,
    n_workers: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
    **inputs_and_parameters: Any,
) -> Request:
    """Check everything before any work starts; arguments as for `tessera.segment`."""
    given = {
        "unit": unit,
        "spatial": spatial,
        "region": region,
        "measure": measure,
        "name": name,
        "input_records": input_records,
    }
    check_types({**given, "scheduler": scheduler, "out": out}, TYPES)
    chosen = method_named(method)
    _refuse_unknown_records(input_records or {}, chosen)
    inputs_and_parameters |= chosen.implied(inputs_and_parameters)
    asked = {"blocks": blocks, "n_workers": n_workers, "scheduler": scheduler, "out": out}
    with explaining_lack_of_memory(method, getattr(image, "shape", ())):
        image, masked = split_mask(image) if chosen.takes_image else (image, None)
        main, layout, in_blocks = _main_input(chosen, image, axes, region, asked)
    all_sizes = _check_sizes(spacing if spatial is None else _spacing_of(spatial, layout), layout)
    sizes = all_sizes and all_sizes[-len(layout.space) :]
    parameters = _parameters_among(inputs_and_parameters, chosen, sizes, len(layout.space), units)
    models = check_models(chosen, parameters)
    parameters |= values_of_models(chosen, parameters, models)
    placed = _placed(spatial, layout, all_sizes, unit)
    if in_blocks is not None:
        _check_output(chosen, parameters)
    elif region is None and blocks is None:
        in_blocks = _where_better(chosen, layout, main.shape, {**parameters, **models})
    inputs = _inputs_among(inputs_and_parameters, chosen, main, layout, parameters)
    return Request(
        method=chosen,
        inputs=inputs,
        points=_points_among(chosen, inputs, layout.label_shape(main.shape)),
        layout=layout,
        spacing=sizes,
        parameters=parameters,
        models=models,
        spatial=placed,
        name=name,
        region=region,
        input_records=dict(input_records or {}),
        measure=measure,
        blocks=in_blocks,
        masked=masked.any(axis=layout.axes.index(CHANNEL)) if masked is not None and layout.has_channels else masked,
        notes=(
            *(note_on_colours(layout, main.shape) if axes is None else ()),
            *(note_on_opacity(main) if layout.axes.endswith(CHANNEL) else ()),
            *note_on_unknown_sizes(placed),
            *_notes_on_empty(inputs_and_parameters, inputs),
            *_notes_on_large_labels({chosen.inputs[0].name: image, **inputs_and_parameters}, chosen),
        ),
    )


TYPES: Types = {
    "unit": (str, 'a text, such as "µm"'),
    "spatial": (Spatial | None, "a tessera.Spatial"),
    "region": (Region | None, "a tessera.Region"),
    "measure": FLAG,
    "name": (str, "a text"),
    "input_records": (Mapping | None, "a dictionary of records"),
    "scheduler": (str | None, "the address of a scheduler"),
    "out": PATH_OR_NONE,
}
"""Types of the common arguments that are not checked elsewhere."""


def _refuse_unknown_records(records: Mapping[str, Any], method: Method) -> None:
    known = [entry.name for entry in method.inputs]
    for name in records:
        if name not in known:
            hint = did_you_mean(name, known) or f"{method.name} takes: {', '.join(known)}."
            raise ParameterError(f"{method.name}: `input_records` names `{name}`. {hint}", "input_records")


def _main_input(
    method: Method, image: Any, axes: str | None, region: Region | None, in_blocks: Mapping[str, Any]
) -> tuple[Any, Layout, Blocks | None]:
    """Check the image; an image to read in blocks stays where it is stored."""
    name = f"{method.name}: `{method.inputs[0].name}`"
    if image is None:
        raise InputError(f"{name} is missing. Choose a layer or give an array.")
    if not is_stored(image):
        image = _in_memory(image, method, name)
    check_stored(image, name, as_labels=not method.takes_image)
    layout = check_axes(axes, image.shape, image.dtype)
    if layout.has_channels and "channel_axis" not in method.declaration.context:
        raise InputError(f"{method.name} takes no channels, but the axes are {layout.axes}.")
    blocks = check_blocks(method, len(layout.space), **in_blocks)
    if blocks is not None and region is not None:
        raise InputError("A region and blocks do not go together. Cut the image first, or leave out one of them.")
    if is_stored(image) and blocks is None and region is None:
        if method.join is not None and not fits_in_memory(image):
            return image, layout, check_blocks(method, len(layout.space), blocks=True)
        image = _in_memory(image, method, name)
    return image, layout, blocks


def _parameters_among(
    given: Mapping[str, Any], method: Method, sizes: tuple[float, ...] | None, ndim: int, units: str
) -> dict[str, Any]:
    """Check the method's settings, and convert lengths and areas to pixels."""
    names = {entry.name for entry in method.inputs[1:]}
    settings = {name: value for name, value in given.items() if name not in names}
    return method.declaration.checked(in_pixels(settings, method, sizes, ndim, units))


def _inputs_among(
    given: Mapping[str, Any], method: Method, main: Any, layout: Layout, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Check the inputs that have an effect with these parameters; the main one is already checked."""
    used = {entry.name for entry in method.inputs[1:] if entry.matters(parameters)}
    others = {name: value for name, value in given.items() if name in used}
    return {method.inputs[0].name: main, **check_inputs(method.declaration, others, layout, main.shape)}


def _notes_on_large_labels(given: Mapping[str, Any], method: Method) -> Iterator[str]:
    for entry in method.inputs:
        if Role.LABELS in entry.roles:
            yield from note_on_large_labels(given.get(entry.name), f"The numbers in `{entry.name}`")


def _notes_on_empty(given: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"`{name}` holds no point and no painted pixel, so it counts as not given."
        for name, array in inputs.items()
        if array is None and given.get(name) is not None
    )


def _where_better(method: Method, layout: Layout, shape: Sequence[int], parameters: Mapping[str, Any]) -> Blocks | None:
    """Use blocks if the whole image would need too much memory."""
    sides = dict(zip(layout.axes, shape, strict=True))
    shape_in_space = tuple(sides[axis] for axis in layout.space)
    if method.join is None or not method.is_better_in_blocks(shape_in_space, **parameters):
        return None
    return check_blocks(method, len(layout.space), blocks=True)


def _check_output(method: Method, parameters: Mapping[str, Any]) -> None:
    """Refuse outputs that cannot be made in blocks."""
    if method.kind_of(parameters) == "probabilities":
        raise InputError(
            f"{method.name}: probabilities are made in one piece. Segment a region, choose another `output`, or leave "
            "out `blocks`, `n_workers`, `scheduler` and `out`."
        )


def check_models(method: Method, parameters: Mapping[str, Any]) -> dict[str, catalogue.ModelEntry]:
    """Return the models that parameters name, by the parameter; a default only if it has an effect."""
    found = {}
    for parameter in method.parameters:
        is_left = parameters.get(parameter.name) == parameter.default and not parameter.matters(parameters)
        if parameter.model is None or is_left:
            continue
        try:
            entry = catalogue.find(parameters[parameter.name])
        except ParameterError as error:
            raise ParameterError(f"{method.name}: `{parameter.name}`: {error}", parameter.name) from error
        kind = entry.header["architecture"].get("kind", parameter.model.kind)
        if kind != parameter.model.kind:
            raise ParameterError(
                f"{method.name}: `{parameter.name}` is {entry.name!r}, which is a {TITLES[kind]}, but it must be "
                f"a {TITLES[parameter.model.kind]}. `tessera models` lists what there is.",
                parameter.name,
            )
        found[parameter.name] = entry
    return found


def values_of_models(
    method: Method, parameters: Mapping[str, Any], models: Mapping[str, catalogue.ModelEntry]
) -> dict[str, Any]:
    """Return the parameters that are left open and follow from the model, such as objects or classes as output."""
    headers = [entry.header for entry in models.values()]
    open_ones = [each for each in method.parameters if each.from_model and parameters[each.name] is None]
    found = {each.name: header.get(each.from_model) for each in open_ones for header in headers}
    return {each.name: each.checked(found.get(each.name), method.name) for each in open_ones}


def _check_sizes(spacing: Any, layout: Layout) -> tuple[float, ...] | None:
    """Check the pixel sizes along z, y, x; that along the only plane's z may be left out."""
    if layout.has_one_plane and isinstance(spacing, Sequence) and len(spacing) == len(layout.space):
        spacing = (spacing[0], *spacing)
    return check_spacing(spacing, Layout(layout.axes))


def _spacing_of(spatial: Spatial, layout: Layout) -> tuple[float, ...]:
    placed = replace(spatial, axes=layout.label_axes)
    placed.check_units()
    sizes = dict(zip(spatial_axes(placed.axes), placed.spacing, strict=True))
    return tuple(sizes[axis] or 1.0 for axis in layout.space)


def _placed(spatial: Spatial | None, layout: Layout, spacing: tuple[float, ...] | None, unit: str) -> Spatial:
    axes = layout.label_axes
    if spatial is not None:
        return replace(spatial, axes=axes)
    try:
        check_unit(unit)
    except InputError as error:
        raise InputError(f"`unit`: {error}") from error
    space = Layout(axes).space
    sizes = dict(zip(space, spacing or (1.0,) * len(space), strict=True))
    return Spatial.with_spacing(axes, [sizes[axis] for axis in axes if axis in sizes], unit)


def _points_among(method: Method, inputs: Mapping[str, np.ndarray | None], shape: tuple[int, ...]) -> frozenset[str]:
    return frozenset(
        entry.name for entry in method.inputs if Role.POINTS in entry.roles and not is_labels(inputs[entry.name], shape)
    )
