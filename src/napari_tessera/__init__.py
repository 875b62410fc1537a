"""Turn images into labels: threshold, region growing, watershed, k-means and networks, in napari and without."""

from __future__ import annotations

from importlib import import_module

from napari_tessera.core.daemon_threads import watch_forks
from napari_tessera.methods import NAMES

TYPE_CHECKING = False  # that of `typing`, which takes longer to load than all else here
if TYPE_CHECKING:
    from typing import Any

    from napari_tessera.core.method import Method

__version__ = "0.1.0"

watch_forks()

_PUBLIC = {
    "run": "engine.api",
    "segment": "engine.api",
    "segment_steps": "engine.api",
    "evaluate": "metrics.segmentation",
    "evaluate_many": "metrics.segmentation",
    "fine_tune": "training.train",
    "evaluate_panoptic": "metrics.panoptic",
    "list_models": "models.registry",
    "point": "engine.point",
    "Progress": "core.jobs",
    "Region": "core.region",
    "Result": "core.result",
    "Spatial": "core.spatial",
    "suggest_model": "engine.suggest_model",
    "TesseraError": "core.errors",
    "train": "training.train",
}
_MODULES = ("io", "sample_data")

__all__ = ["__version__", "list_methods", *_PUBLIC, *(name for name in NAMES if name not in _PUBLIC), *_MODULES]


def list_methods() -> tuple[Method, ...]:
    """Return every method, readable: name, title, summary, inputs, parameters.

    Examples
    --------
    >>> import napari_tessera as tessera
    >>> [method.name for method in tessera.list_methods()][:3]
    ['threshold', 'region_growing', 'watershed']
    """
    from napari_tessera.methods.registry import METHODS

    return METHODS


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, and keep it: importing the package costs next to nothing."""
    if name in _PUBLIC:
        found = getattr(import_module(f"napari_tessera.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        found = import_module(f"napari_tessera.{name}")
    elif name in NAMES:
        from napari_tessera.engine.api import plain
        from napari_tessera.methods.registry import method_named

        found = plain(method_named(name))
    else:
        raise AttributeError(f"module 'napari_tessera' has no attribute {name!r}")
    return globals().setdefault(name, found)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
