"""Turn images into labels: threshold, region growing, watershed, k-means and networks, in napari and without."""

from __future__ import annotations

from importlib import import_module

from napari_tessera.forked import watch_forks

TYPE_CHECKING = False  # that of `typing`, which takes longer to load than all else here
if TYPE_CHECKING:
    from typing import Any

    from napari_tessera.registry import Method

__version__ = "0.1.0"

watch_forks()
import_module("napari_tessera.methods")  # loaded first, so that `methods()` below keeps its name from then on
import_module("napari_tessera.train")  # the same for the function `train`, which is imported when first asked for
del globals()["train"]

_PUBLIC = {
    "run": "api",
    "segment": "api",
    "evaluate": "metrics",
    "evaluate_many": "metrics",
    "fine_tune": "fine_tuning",
    "evaluate_panoptic": "panoptic_quality",
    "models": "catalogue",
    "Progress": "jobs",
    "Region": "region",
    "Result": "result",
    "Spatial": "spatial",
    "TesseraError": "errors",
    "train": "training",
}
_METHODS = ("threshold", "region_growing", "watershed", "kmeans", "unet", "mask_rcnn", "panoptic", "refine", "compare")

__all__ = ["__version__", "methods", *_PUBLIC, *_METHODS]


def methods() -> tuple[Method, ...]:
    """Return every method, readable: name, title, summary, inputs, parameters.

    Examples
    --------
    >>> import napari_tessera as tessera
    >>> [method.name for method in tessera.methods()][:3]
    ['threshold', 'region_growing', 'watershed']
    """
    from napari_tessera.registry import METHODS

    return METHODS


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs next to nothing."""
    if name in _PUBLIC:
        return getattr(import_module(f"napari_tessera.{_PUBLIC[name]}"), name)
    if name in _METHODS:
        from napari_tessera.api import plain
        from napari_tessera.registry import method_named

        return plain(method_named(name))
    raise AttributeError(f"module 'napari_tessera' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
