"""Read napari layers, add result layers, and create annotation layers."""
