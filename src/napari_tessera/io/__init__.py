"""Read images, labels and points; write labels, tables and records. This package does not use napari."""

from napari_tessera.io.coco_panoptic import read_coco_panoptic, write_coco_panoptic
from napari_tessera.io.image_file import Picture
from napari_tessera.io.read import read_image, read_labels, read_points
from napari_tessera.io.write import write_result

__all__ = [
    "Picture",
    "read_coco_panoptic",
    "read_image",
    "read_labels",
    "read_points",
    "write_coco_panoptic",
    "write_result",
]
