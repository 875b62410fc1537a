"""A run that has passed every check: what to do, on which arrays, in which part of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_tessera.blocks import Blocks
from napari_tessera.door import check_image, check_labels
from napari_tessera.layout import Layout
from napari_tessera.region import Crop, Region, resolve
from napari_tessera.registry import Method
from napari_tessera.result import Kind
from napari_tessera.spatial import Spatial


@dataclass(frozen=True)
class Request:
    """A run that can start.

    Attributes
    ----------
    method : Method
    inputs : dict of str to array or None
        Canonical arrays with the axes of `layout`; the first is the main one.
    points : frozenset of str
        Names of the inputs that are points; the others have the image's shape.
    layout : Layout
    spacing : tuple of float or None
        Pixel size along z, y, x.
    parameters : dict
    spatial : Spatial
        Placement of the labels to come.
    name : str
        Name of the main input.
    region : Region or None
    made_by : dict of str to record
        How an input was itself made, where that is known; a replay on another image makes it anew.
    measure : bool
        Whether to measure every object for the table.
    blocks : Blocks or None
        How to run in blocks; None runs on the whole image.
    notes : tuple of str
        What the user should know of how the input was taken.
    """

    method: Method
    inputs: Mapping[str, np.ndarray | None]
    points: frozenset[str]
    layout: Layout
    spacing: tuple[float, ...] | None
    parameters: Mapping[str, Any]
    spatial: Spatial
    name: str = ""
    region: Region | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    measure: bool = True
    blocks: Blocks | None = None
    notes: tuple[str, ...] = ()

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
        """What the labels will be."""
        return self.method.kind_of(self.parameters)

    @property
    def loop_shape(self) -> tuple[int, ...]:
        """Lengths of the axes that are taken one at a time."""
        size = dict(zip(self.layout.axes, self.main.shape, strict=True))
        return tuple(int(size[axis]) for axis in self.layout.loops)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the labels to come."""
        return self.layout.label_shape(self.main.shape)


def cropped(request: Request) -> tuple[Request, Crop]:
    """Cut every input down to the request's region, which must not be None."""
    assert request.region is not None
    crop = resolve(request.region, request.layout, request.main.shape)
    layout = Layout(crop.kept_axes)
    spacing = request.spacing and tuple(
        size for axis, size in zip(request.layout.space, request.spacing, strict=True) if axis in layout.space
    )
    inputs = {name: _cut(name, array, request, crop) for name, array in request.inputs.items()}
    return replace(request, inputs=inputs, layout=layout, spacing=spacing, region=None), crop


def _cut(name: str, array: np.ndarray | None, request: Request, crop: Crop) -> np.ndarray | None:
    if array is None:
        return None
    if name in request.points:
        return crop.points(array, request.layout.label_axes)
    axes = request.layout.axes if name == request.main_name else request.layout.label_axes
    part = array[crop.index_for(axes)]
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(part)
    check = check_image if request.method.takes_image else check_labels
    return check(part, f"{request.method.name}: `{name}`")
