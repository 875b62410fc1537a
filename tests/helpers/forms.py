"""The methods whose widget is a form of their settings."""

from napari_tessera.methods.registry import METHODS

WITH_FORM = tuple(method for method in METHODS if method.name != "point")
"""Point has a widget of its own."""
