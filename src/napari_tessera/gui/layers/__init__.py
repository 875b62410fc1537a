"""Layers of napari: read them, add them, annotate them."""
