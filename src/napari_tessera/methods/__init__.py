"""Methods: one module each. Adding a method is one module here and its name in `NAMES`."""

NAMES = ("threshold", "region_growing", "watershed", "kmeans", "unet", "mask_rcnn", "panoptic", "refine", "compare")
"""Names of the methods, in the order of the menus."""
