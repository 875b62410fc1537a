"""The methods: one module for each, and `NAMES`, their list."""

NAMES = (
    "threshold",
    "region_growing",
    "point",
    "watershed",
    "kmeans",
    "superpixels",
    "unet",
    "mask_rcnn",
    "panoptic",
    "refine",
    "compare",
)
"""Names of the methods, in the order of the menus."""
