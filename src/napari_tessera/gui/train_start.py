"""Which model to learn further: a box of those that suit, "nothing", and the published weights of a Mask R-CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_tessera import catalogue
from napari_tessera.gui.model_field import ModelField
from napari_tessera.spec import Parameter
from napari_tessera.train.settings import NOTHING

if TYPE_CHECKING:
    from napari_tessera.catalogue import ModelEntry

KINDS = {"unet": "unet", "mask-rcnn": "mask_rcnn"}
"""Kinds of networks as the settings name them, and as model files do."""
PLANE_NDIM = 2
FROM_NOTHING = "Nothing (random weights)"
COCO = "coco"
FROM_COCO = "COCO (everyday things)"
ON_OTHERS = {
    NOTHING: "Learns from your paint alone. Classes are learnt soonest so; objects take more paint and more time.",
    COCO: "The published network, which knows the things of everyday photographs: for objects that no model here "
    "knows. It is large, and downloaded once (170 MB).",
}


class StartField(ModelField):
    """The box of models to start from; it holds those that fit network, task and dimensions."""

    def __init__(self, parameter: Parameter) -> None:
        self.network, self.task, self.ndim = "unet", "objects", 2
        super().__init__(parameter)
        self.value = self.usual()

    def follow(self, network: str, task: str, ndim: int) -> None:
        """Offer what suits these settings, and choose what is usual with them."""
        if (network, task, ndim) == (self.network, self.task, self.ndim):
            return  # every model's file would be looked at again
        self.network, self.task, self.ndim = network, task, ndim
        self.value = self.usual()

    def usual(self) -> str:
        """Return what teaches soonest: of objects in planes the first model that suits, of all else nothing."""
        if self.task == "classes" or self.ndim != PLANE_NDIM:
            return NOTHING
        return next((entry.name for entry in catalogue.shipped_models() if self._fits(entry)), NOTHING)

    def other_choices(self) -> list[tuple[str, str]]:
        """Offer to start from the published weights, or from nothing."""
        published = [(FROM_COCO, COCO)] if self.network == "mask-rcnn" else []
        return [*published, (FROM_NOTHING, NOTHING)]

    def _fits(self, entry: ModelEntry) -> bool:
        is_of_kind = entry.kind == KINDS[self.network] and entry.ndim == self.ndim
        return bool(entry.error) or (is_of_kind and (self.task == "classes" or entry.task == "objects"))

    def _show_card(self) -> None:
        if self.value in ON_OTHERS:
            self.below.say(ON_OTHERS[self.value])
        else:
            super()._show_card()
