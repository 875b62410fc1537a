"""The methods: one module for each, and `NAMES`, their list."""

NAMES = (
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
    "point",
)
"""Names of the methods, in the order of the menus."""
