"""Types of the public interface, written by `docs/stub.py`."""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from napari_tessera import io as io
from napari_tessera import sample_data as sample_data
from napari_tessera.core.errors import TesseraError as TesseraError
from napari_tessera.core.jobs import Progress as Progress
from napari_tessera.core.method import Method
from napari_tessera.core.region import Region as Region
from napari_tessera.core.result import Result as Result
from napari_tessera.core.spatial import Spatial as Spatial
from napari_tessera.core.spec import LabelsAndTable, LabelsClassesAndTable
from napari_tessera.engine.api import run as run
from napari_tessera.metrics.panoptic import evaluate_panoptic as evaluate_panoptic
from napari_tessera.metrics.segmentation import evaluate as evaluate
from napari_tessera.metrics.segmentation import evaluate_many as evaluate_many
from napari_tessera.models.registry import list_models as list_models
from napari_tessera.training.fine_tune import fine_tune as fine_tune
from napari_tessera.training.train import train as train

__all__ = [
    "Progress",
    "Region",
    "Result",
    "Spatial",
    "TesseraError",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_many",
    "evaluate_panoptic",
    "fine_tune",
    "io",
    "kmeans",
    "list_methods",
    "list_models",
    "mask_rcnn",
    "panoptic",
    "refine",
    "region_growing",
    "run",
    "sample_data",
    "segment",
    "segment_steps",
    "superpixels",
    "threshold",
    "train",
    "unet",
    "watershed",
]

__version__: str
_MethodName = Literal[
    "threshold",
    "region_growing",
    "watershed",
    "kmeans",
    "superpixels",
    "unet",
    "mask_rcnn",
    "panoptic",
    "refine",
    "compare",
]

def list_methods() -> tuple[Method, ...]: ...
def segment(
    method: _MethodName | str,
    /,
    image: ArrayLike,
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
    progress: Callable[[Progress], None] | None = None,
    **inputs_and_parameters: Any,
) -> Result: ...
def segment_steps(
    method: _MethodName | str,
    /,
    image: ArrayLike,
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
) -> Generator[Progress, None, Result]: ...
def threshold(
    image: ArrayLike,
    *,
    method: Literal[
        "otsu",
        "li",
        "yen",
        "isodata",
        "triangle",
        "mean",
        "minimum",
        "multi-otsu",
        "manual",
        "hysteresis",
        "local-mean",
        "local-gaussian",
        "local-median",
        "sauvola",
        "niblack",
    ] = "otsu",
    classes: int = 3,
    low: float | None = None,
    high: float | None = None,
    radius: int = 25,
    offset: float = 0.0,
    k: float = 0.2,
    r: float | None = None,
    polarity: Literal["bright", "dark"] = "bright",
    channel: int | None = None,
    sigma: float = 0.0,
    output: Literal["classes", "objects"] = "classes",
    connectivity: int = 1,
    min_size: int = 0,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> np.ndarray: ...
def region_growing(
    image: ArrayLike,
    seeds: ArrayLike,
    *,
    rule: Literal["tolerance", "adaptive", "competing"] = "tolerance",
    tolerance: float = 0.1,
    k: float = 2.5,
    feature: Literal["intensity", "texture", "both"] = "intensity",
    texture_radius: int = 8,
    channel: int | None = None,
    sigma: float = 1.0,
    connectivity: int = 1,
    max_size: int = 0,
    background: int = 0,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> LabelsAndTable: ...
def watershed(
    image: ArrayLike,
    markers: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    foreground: Literal["local", "otsu", "li", "isodata", "triangle", "mask", "whole"] = "local",
    threshold: float | None = None,
    radius: float = 6.0,
    polarity: Literal["bright", "dark"] = "bright",
    landscape: Literal["distance", "intensity", "gradient"] = "distance",
    sigma: float = 0.7,
    min_distance: float = 5.0,
    prominence: float = 0.12,
    compactness: float = 0.0,
    watershed_line: bool = False,
    max_hole_size: int = 100,
    min_size: int = 30,
    connectivity: int = 1,
    channel: int | None = None,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> np.ndarray: ...
def kmeans(
    image: ArrayLike,
    *,
    n_clusters: int = 3,
    features: Literal["channels", "intensity", "cielab"] = "channels",
    channel: int | None = None,
    sigma: float = 0.0,
    position_weight: float = 0.0,
    restarts: int = 4,
    seed: int = 0,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> np.ndarray: ...
def superpixels(
    image: ArrayLike,
    *,
    n_segments: int = 250,
    compactness: float = 10.0,
    sigma: float = 0.0,
    features: Literal["auto", "cielab", "channels", "intensity"] = "auto",
    channel: int | None = None,
    merge: bool = False,
    merge_threshold: float = 10.0,
    texture_weight: float = 1.0,
    texture_radius: float = 3.0,
    slic_zero: bool = False,
    max_num_iter: int = 10,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> np.ndarray: ...
def unet(
    image: ArrayLike,
    *,
    model: str = "nuclei-unet",
    output: Literal["objects", "classes", "probabilities"] = "objects",
    diameter: float | None = None,
    polarity: Literal["auto", "bright", "dark"] = "auto",
    threshold: float | None = None,
    min_size: int | None = None,
    augment: bool = False,
    volume: Literal["stitch", "orthogonal"] = "stitch",
    stitch_threshold: float = 0.25,
    channel: int | None = None,
    tile_size: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> np.ndarray: ...
def mask_rcnn(
    image: ArrayLike,
    *,
    model: str = "nuclei-mask-rcnn",
    diameter: float | None = None,
    polarity: Literal["auto", "bright", "dark"] = "auto",
    min_score: float | None = None,
    max_objects: int | None = None,
    min_size: int = 0,
    stitch_threshold: float = 0.25,
    channel: int | None = None,
    tile_size: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> LabelsAndTable: ...
def panoptic(
    image: ArrayLike,
    things: ArrayLike | None = None,
    stuff: ArrayLike | None = None,
    *,
    things_from: Literal["layer", "mask_rcnn", "unet", "watershed"] = "unet",
    things_model: str = "nuclei-mask-rcnn",
    things_unet: str = "nuclei-unet",
    diameter: float | None = None,
    polarity: Literal["auto", "bright", "dark"] = "auto",
    things_name: str = "object",
    min_score: float | None = None,
    least_remaining: float = 0.5,
    stuff_from: Literal["layer", "threshold", "kmeans", "unet"] = "threshold",
    stuff_unet: str = "nuclei-unet",
    stuff_classes: int = 3,
    stuff_names: str | Sequence[str] = "",
    sigma: float = 1.0,
    smallest_stuff: int = 64,
    channel: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
) -> LabelsClassesAndTable: ...
def refine(
    labels: ArrayLike,
    *,
    max_hole_size: int = 0,
    split: bool = False,
    min_distance: float = 5.0,
    prominence: float = 0.1,
    merge_below: int = 0,
    smooth: float = 0.0,
    clear_border: bool = False,
    min_size: int = 0,
    max_size: int = 0,
    keep_largest: int = 0,
    renumber: bool = True,
    spacing: tuple[float, ...] | None = None,
) -> np.ndarray: ...
def compare(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    iou: float = 0.5,
) -> LabelsAndTable: ...
