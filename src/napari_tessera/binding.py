"""From a method's name and arrays to a request: every check before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera import catalogue
from napari_tessera.blocks import Blocks, check_blocks, fits_in_memory, is_stored
from napari_tessera.door import (
    FLAG,
    PATH_OR_NONE,
    Types,
    check_image,
    check_inputs,
    check_labels,
    check_stored,
    check_types,
    is_labels,
)
from napari_tessera.errors import InputError, ParameterError, explaining_lack_of_memory
from napari_tessera.layout import Layout, check_axes, check_spacing, note_on_colours
from napari_tessera.region import Region
from napari_tessera.registry import Method, method_named
from napari_tessera.request import Request
from napari_tessera.sizes import in_pixels
from napari_tessera.spatial import Spatial
from napari_tessera.spec import Role


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
    """Check everything before any work starts; arguments as for `tessera.segment`."""
    given = {"unit": unit, "spatial": spatial, "region": region, "measure": measure, "name": name, "made_by": made_by}
    check_types({**given, "scheduler": scheduler, "out": out}, TYPES)
    chosen = method_named(method)
    inputs_and_parameters |= chosen.implied(inputs_and_parameters)
    asked = {"blocks": blocks, "workers": workers, "scheduler": scheduler, "out": out}
    with explaining_lack_of_memory(method, getattr(image, "shape", ())):
        main, layout, in_blocks = _main_input(chosen, image, axes, region, asked)
    sizes = check_spacing(spacing if spatial is None else _spacing_of(spatial, layout), layout)
    parameters = _parameters_among(inputs_and_parameters, chosen, sizes, len(layout.space), sizes_in)
    if in_blocks is not None:
        _check_output(chosen, parameters)
    elif region is None and blocks is None:
        in_blocks = _where_better(chosen, layout, main.shape, parameters)
    inputs = _inputs_among(inputs_and_parameters, chosen, main, layout, parameters)
    return Request(
        method=chosen,
        inputs=inputs,
        points=_points_among(chosen, inputs, layout.label_shape(main.shape)),
        layout=layout,
        spacing=sizes,
        parameters=parameters,
        spatial=_placed(spatial, layout, sizes, unit),
        name=name,
        region=region,
        made_by=dict(made_by or {}),
        measure=measure,
        blocks=in_blocks,
        notes=note_on_colours(layout, main.shape) if axes is None else (),
    )


TYPES: Types = {
    "unit": (str, 'a text, such as "µm"'),
    "spatial": (Spatial | None, "a tessera.Spatial"),
    "region": (Region | None, "a tessera.Region"),
    "measure": FLAG,
    "name": (str, "a text"),
    "made_by": (Mapping | None, "a dictionary of records"),
    "scheduler": (str | None, "the address of a scheduler"),
    "out": PATH_OR_NONE,
}
"""What of the arguments that all methods have in common is of a type that is not checked elsewhere."""


def _main_input(
    method: Method, image: Any, axes: str | None, region: Region | None, in_blocks: Mapping[str, Any]
) -> tuple[Any, Layout, Blocks | None]:
    """Check the image, and leave it where it lies if only parts of it are to be read."""
    name = f"{method.name}: `{method.inputs[0].name}`"
    if image is None:
        raise InputError(f"{name} is missing. Choose a layer or give an array.")
    if not is_stored(image):
        image = check_image(image, name) if method.takes_image else check_labels(image, name)
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
        image = check_image(image, name) if method.takes_image else check_labels(image, name)
    return image, layout, blocks


def _parameters_among(
    given: Mapping[str, Any], method: Method, sizes: tuple[float, ...] | None, ndim: int, sizes_in: str
) -> dict[str, Any]:
    """Check the method's settings, models included, and bring lengths and areas to pixels."""
    names = {entry.name for entry in method.inputs[1:]}
    settings = {name: value for name, value in given.items() if name not in names}
    parameters = method.declaration.checked(in_pixels(settings, method, sizes, ndim, sizes_in))
    check_models(method, parameters)
    return parameters


def _inputs_among(
    given: Mapping[str, Any], method: Method, main: Any, layout: Layout, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Check the inputs that matter with these parameters; the main one is checked already."""
    used = {entry.name for entry in method.inputs[1:] if entry.matters(parameters)}
    others = {name: value for name, value in given.items() if name in used}
    return {method.inputs[0].name: main, **check_inputs(method.declaration, others, layout, main.shape)}


def _where_better(method: Method, layout: Layout, shape: Sequence[int], parameters: Mapping[str, Any]) -> Blocks | None:
    """Run in blocks by itself what would take too much memory as a whole."""
    sides = dict(zip(layout.axes, shape, strict=True))
    if not method.is_better_in_blocks(tuple(sides[axis] for axis in layout.space), parameters):
        return None
    return check_blocks(method, len(layout.space), blocks=True)


def _check_output(method: Method, parameters: Mapping[str, Any]) -> None:
    """Refuse what cannot be made in blocks."""
    if method.kind_of(parameters) == "probabilities":
        raise InputError(
            f"{method.name}: probabilities are made in one piece. Segment a region, choose another `output`, or leave "
            "out `blocks`, `workers`, `scheduler` and `out`."
        )


def check_models(method: Method, parameters: Mapping[str, Any]) -> None:
    """Refuse the name of a model that there is not, or of one of another kind; a default counts only where it matters.

    Raises
    ------
    ParameterError
        Naming the parameter, with the nearest names.
    ModelError
        If the model's file cannot be used.
    """
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
                f"{method.name}: `{parameter.name}` is {entry.name!r}, which is a {kind}, but it must be a "
                f"{parameter.model.kind}. `tessera models` lists what there is.",
                parameter.name,
            )


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
