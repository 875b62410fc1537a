"""One class per method, for the manifest."""

from __future__ import annotations

from napari_tessera.gui.method.widget import MethodWidget


class ThresholdWidget(MethodWidget):
    """Threshold."""

    method_name = "threshold"


class RegionGrowingWidget(MethodWidget):
    """Region growing."""

    method_name = "region_growing"


class WatershedWidget(MethodWidget):
    """Watershed."""

    method_name = "watershed"


class KMeansWidget(MethodWidget):
    """K-means."""

    method_name = "kmeans"


class UNetWidget(MethodWidget):
    """U-Net."""

    method_name = "unet"


class MaskRCNNWidget(MethodWidget):
    """Mask R-CNN."""

    method_name = "mask_rcnn"


class PanopticWidget(MethodWidget):
    """Panoptic."""

    method_name = "panoptic"


class RefineWidget(MethodWidget):
    """Refine labels."""

    method_name = "refine"
