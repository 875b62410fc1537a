"""The header of a model file: its fields as models of pydantic, which tell what each may be. Read without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from napari_tessera.core.errors import ModelError, visible
from napari_tessera.core.file_checks import parse_json
from napari_tessera.core.record_schema import Count, Fields, Number, check_fields
from napari_tessera.models.safetensors import TensorFile, open_tensors

FORMAT = 1
HEADER = "tessera"
CHECKPOINT, LOCK = ".checkpoint", ".lock"
"""What a training leaves beside its model while it lasts is called as the model file, with these at the end."""
TEXTS = frozenset({"name", "title", "summary", "card", "classes", "channels", "licence", "cite"})
"""Fields of the header that are shown."""
OLDEST_KIND = "unet"
N_FEATURES = {"unet": 16, "mask_rcnn": 4}
"""Number of features by which objects are scored, by the kind of network; see
`inference.object_features` and `inference.rescore_detections`."""
N_UNET_FEATURES = 2
"""Number of features by a second network; see `inference.rescore_detections`."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What a terminal takes for commands, and halves of characters, which no file can take."""
LONGEST_LINE = 500
LARGEST_NUMBER = 1e9
MOST_CHANNELS = 8192


def _text(value: str) -> str:
    if CONTROLS.search(value):
        raise ValueError("should be text without control characters")
    return value


def _line(value: str) -> str:
    if not _text(value).strip() or "\n" in value or len(value) > LONGEST_LINE:
        raise ValueError(f"should be a line of text, of up to {LONGEST_LINE} characters")
    return value


def _file_name(value: str) -> str:
    if any(each in _line(value) for each in "/\\"):
        raise ValueError("should be a line of text without slashes")
    return value


def _head_name(value: str) -> str:
    if not value.isidentifier() or len(value) > 64:
        raise ValueError("should be a name of letters and digits")
    return value


def _alike(sides: list[list[float]]) -> list[list[float]]:
    if len({len(each) for each in sides}) != 1:
        raise ValueError("should have as many sides at each level")
    return sides


def _items(count: int, most: int | None = None) -> Any:
    return Field(min_length=count, max_length=count if most is None else most)


def _n_weights(count: int) -> int:
    """Return how many weights a regression on so many features has; see `inference.object_features`."""
    return 1 + count + count * (count + 1) // 2


Text = Annotated[StrictStr, AfterValidator(_text)]
Line = Annotated[StrictStr, AfterValidator(_line)]
FileName = Annotated[StrictStr, AfterValidator(_file_name)]
Lines = Annotated[list[Line], Field(min_length=1)]
Finite = Annotated[Number, Field(gt=-LARGEST_NUMBER, lt=LARGEST_NUMBER)]
Share = Annotated[Number, Field(ge=0, le=1)]
Spread = Annotated[Finite, Field(ge=1e-9)]
Length = Annotated[Number, Field(ge=1e-3, le=1e6)]
Lengths = Annotated[list[Length], _items(1, 64)]
Channels = Annotated[StrictInt, Field(ge=1, le=MOST_CHANNELS)]
Outputs = Annotated[StrictInt, Field(ge=1, le=1024)]
Boxes = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
UNSAID: Any = None
"""In place of a default: settings that are left out are those of the published model."""


class Architecture:
    """The fields from which a network is built; kept in the header of its model file. A dataclass inherits it."""

    kind: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Return the kind and the fields as plain JSON, which `from_json` takes back."""
        return {"kind": self.kind, **json.loads(json.dumps(vars(self)))}

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> Self:
        """Read the fields from the header of a model file, which names the kind of network, too."""
        return cls(**{name: value for name, value in described.items() if name != "kind"})


class ExactFields(Fields):
    """A JSON object of known fields, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UNetFields(ExactFields):
    """What is needed to build a U-Net; see `models.unet.UNetArchitecture`."""

    kind: Literal["unet"] = "unet"
    channels: Channels
    heads: Annotated[dict[Annotated[StrictStr, AfterValidator(_head_name)], Outputs], _items(1, 16)]
    widths: Annotated[list[Channels], _items(1, 8)]
    ndim: Annotated[StrictInt, Field(ge=2, le=3)]


class ClickFields(UNetFields):
    """What is needed to build a click network; see `models.unet.ClickArchitecture`."""

    kind: Literal["click"]  # type: ignore[assignment]
    ndim: Annotated[StrictInt, Field(ge=2, le=2)]


class MaskRCNNSettings(ExactFields):
    """How a Mask R-CNN works on an image; see `models.mask_rcnn.config.Settings`."""

    min_size: Boxes | None = UNSAID
    max_size: Boxes | None = UNSAID
    image_mean: Annotated[list[Finite], _items(1, MOST_CHANNELS)] = UNSAID
    image_std: Annotated[list[Spread], _items(1, MOST_CHANNELS)] = UNSAID
    anchor_sizes: Annotated[list[Lengths], _items(5), AfterValidator(_alike)] = UNSAID
    aspect_ratios: Lengths = UNSAID
    rpn_pre_nms_top_n_train: Boxes | None = UNSAID
    rpn_pre_nms_top_n_test: Boxes | None = UNSAID
    rpn_post_nms_top_n_train: Boxes | None = UNSAID
    rpn_post_nms_top_n_test: Boxes | None = UNSAID
    rpn_nms_thresh: Share = UNSAID
    rpn_score_thresh: Share = UNSAID
    rpn_fg_iou_thresh: Share = UNSAID
    rpn_bg_iou_thresh: Share = UNSAID
    rpn_batch_size_per_image: Boxes = UNSAID
    rpn_positive_fraction: Share = UNSAID
    box_score_thresh: Share = UNSAID
    box_nms_thresh: Share = UNSAID
    box_detections_per_img: Boxes | None = UNSAID
    box_fg_iou_thresh: Share = UNSAID
    box_bg_iou_thresh: Share = UNSAID
    box_batch_size_per_image: Boxes = UNSAID
    box_positive_fraction: Share = UNSAID
    bbox_reg_weights: Annotated[list[Annotated[Finite, Field(ge=1e-6)]], _items(4)] = UNSAID
    canonical_px: Length = UNSAID
    is_aligned: StrictBool = UNSAID
    largest_ignored_share: Share = UNSAID


class MaskRCNNFields(ExactFields):
    """What is needed to build a Mask R-CNN; see `models.mask_rcnn.config.MaskRCNNArchitecture`."""

    kind: Literal["mask_rcnn"]
    num_classes: Outputs
    channels: Channels
    backbone: Literal["resnet50", "resnet101", "light"]
    widths: Annotated[list[Channels], _items(4)]
    width: Channels
    box_width: Channels
    epsilon: Share
    settings: MaskRCNNSettings


class Normalisation(ExactFields):
    """How images become channels, as this Tessera can do it; see `inference.normalization`."""

    kind: Literal["colours", "channels", "window"] = UNSAID
    count: Channels = UNSAID
    low_percent: Annotated[Number, Field(ge=0.5, le=0.5)] = UNSAID
    high_percent: Annotated[Number, Field(ge=99.8, le=99.8)] = UNSAID
    polarity: Literal["bright", "dark"] = UNSAID
    bright_colours: Literal["brightest"] = Field(UNSAID, alias="bright colours")


class Decoding(Fields):
    """How scores become labels: numbers; see `inference.decode_unet` and `inference.detections_to_labels`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Finite]
    score: Share = UNSAID
    mask_level: Share = UNSAID
    most_hidden: Share = UNSAID
    object_level: Share = UNSAID
    heart_level: Share = UNSAID
    prominence: Share = UNSAID
    smallest_share: Share = UNSAID
    small_share: Share = UNSAID
    sure_level: Share = UNSAID
    smoothing_px: Annotated[Number, Field(ge=0, le=100)] = UNSAID
    border_cost: Annotated[Finite, Field(ge=0)] = UNSAID


class UNetScoring(Fields):
    """How a U-Net's objects are scored: a regression, and from which probability on one is kept."""

    least: Share
    least_of_small: Share
    small_share: Annotated[Share, Field(gt=0)]
    least_probability: Share = UNSAID
    farthest_median: Annotated[Finite, Field(gt=0)] = UNSAID
    least_spread: Share = UNSAID
    centre: Annotated[list[Finite], _items(N_FEATURES["unet"])]
    spread: Annotated[list[Spread], _items(N_FEATURES["unet"])]
    weights: Annotated[list[Finite], _items(_n_weights(N_FEATURES["unet"]))]


class MaskRCNNScoring(Fields):
    """How a Mask R-CNN's objects are scored: a regression, and the score from which on one is looked at."""

    lowest: Share
    centre: Annotated[list[Finite], _items(N_FEATURES["mask_rcnn"])]
    spread: Annotated[list[Spread], _items(N_FEATURES["mask_rcnn"])]
    weights: Annotated[list[Finite], _items(_n_weights(N_FEATURES["mask_rcnn"]))]


class SecondOpinion(Fields):
    """The U-Net that rescores a Mask R-CNN's objects: the very file, and a regression on what both measure."""

    model: FileName
    sha256: Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")]
    centre: Annotated[list[Finite], _items(N_FEATURES["mask_rcnn"] + N_UNET_FEATURES)]
    spread: Annotated[list[Spread], _items(N_FEATURES["mask_rcnn"] + N_UNET_FEATURES)]
    weights: Annotated[list[Finite], _items(_n_weights(N_FEATURES["mask_rcnn"] + N_UNET_FEATURES))]


class Start(Fields):
    """The model that a training started from."""

    steps: Count | None = None


class TrainingSettings(Fields):
    """How a model was trained."""

    start: Start | None = None


class TrainingRecord(Fields):
    """What is known of the training of a model."""

    steps: Count | None = None
    best_step: Count | None = None
    settings: TrainingSettings | None = None


class ModelTexts(Fields):
    """What a user can write about a model."""

    name: FileName
    title: Line
    summary: Line
    card: Text
    licence: Text
    cite: Text
    classes: Lines


class Header(ModelTexts):
    """The fields of the header of a model file, whatever its kind."""

    format: Annotated[StrictInt, Field(ge=FORMAT, le=FORMAT)]
    task: Literal["objects", "classes"]
    architecture: dict[StrictStr, Any]
    channels: Lines
    normalisation: Normalisation
    diameter_px: Annotated[Number, Field(ge=1, le=5000)] | None
    decoding: Decoding
    training: TrainingRecord


class UNetHeader(Header):
    """The header of a U-Net."""

    scoring: UNetScoring | None = None
    second_opinion: None = None


class ClickHeader(Header):
    """The header of a click network, which finds one object at a time."""

    task: Literal["objects"]
    scoring: None = None
    second_opinion: None = None


class MaskRCNNHeader(Header):
    """The header of a Mask R-CNN, which finds objects only."""

    task: Literal["objects"]
    scoring: MaskRCNNScoring | None = None
    second_opinion: SecondOpinion | None = None


KINDS: Mapping[str, tuple[type[Fields], type[Fields]]] = {
    "unet": (UNetHeader, UNetFields),
    "mask_rcnn": (MaskRCNNHeader, MaskRCNNFields),
    "click": (ClickHeader, ClickFields),
}
"""Fields of the header and of the architecture, by the kind of network."""
TITLES = {"unet": "U-Net", "mask_rcnn": "Mask R-CNN", "click": "click network"}
"""What a kind of network is called in messages, after "a"."""


def kind_of(architecture: Any) -> str:
    """Return the kind of network that is described, by default a U-Net; an unknown kind is a `ValueError`."""
    kind = architecture.get("kind", OLDEST_KIND) if isinstance(architecture, Mapping) else OLDEST_KIND
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"it is a network of kind {kind!r:.80}, but this Tessera knows {', '.join(KINDS)}")
    return kind


def check_header(header: Mapping[str, Any]) -> None:
    """Raise a `ValueError` that names the first field that is missing or cannot be."""
    architecture = header.get("architecture")
    kind = kind_of(architecture)
    try:
        check_fields(KINDS[kind][0], header)
    except ValueError as error:
        raise ValueError(f"in its header, {error}") from error
    check_architecture(architecture)
    if header.get("second_opinion") and (header.get("scoring") is None or header["diameter_px"] is None):
        raise ValueError("in its header, second_opinion needs scoring, by which objects are judged, and diameter_px")
    check_classes(header["task"], header["classes"], outputs_of(kind, header["architecture"]))


def outputs_of(kind: str, architecture: Mapping[str, Any]) -> Mapping[str, int] | int:
    """Return the channels of each output of a U-Net, or the number of classes of another network."""
    if kind == "unet":
        return architecture["heads"]
    return architecture["num_classes"] if kind == "mask_rcnn" else architecture["heads"].get("classes", 0)


def check_architecture(architecture: Any) -> None:
    """Raise a `ValueError` that names the first field of an architecture that no network of its kind can have."""
    try:
        check_fields(KINDS[kind_of(architecture)][1], architecture)
    except ValueError as error:
        raise ValueError(f"in its architecture, {error}") from error
    settings = architecture.get("settings", {})
    for name in ("image_mean", "image_std") if "settings" in architecture else ():
        if len(settings.get(name, (0, 0, 0))) != architecture["channels"]:
            raise ValueError(
                f"in its architecture, {name} must have one number for each of the {architecture['channels']} channels"
            )


def check_classes(task: str, classes: list[str], outputs: Mapping[str, int] | int) -> None:
    """Raise a `ValueError` unless a network has the outputs that its task needs, and each class has a name.

    `classes` are names, background first; `outputs` the channels of each output of a U-Net, or the classes of a Mask
    R-CNN.
    """
    if isinstance(outputs, int):
        count = outputs
    else:
        needed = ("classes", "distance") if task == "objects" else ("classes",)
        if missing := [name for name in needed if name not in outputs]:
            raise ValueError(f"a network that finds {task} needs the output `{missing[0]}`, which this one has not")
        if len(classes) < 2:
            raise ValueError("it names no class but the background")
        count = outputs["classes"] if task == "classes" else len(classes)
    if len(classes) != count:
        raise ValueError(f"it names {len(classes)} classes, but its network has {count}")


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the header of a model file, with the fields of `Header`; its weights are not read.

    Raises
    ------
    ModelError
        If the file is missing, damaged, foreign, or made by a newer Tessera.
    """
    with open_tensors(path) as file:
        return header_of(file, Path(path))


def header_of(file: TensorFile, path: Path) -> dict[str, Any]:
    """Read the header of an open file, and check it."""
    if HEADER not in file.texts:
        raise ModelError(f"{path} holds tensors of another program. Tessera needs a model that it trained itself.")
    header = parse_json(file.texts[HEADER])
    if not isinstance(header, dict) or "format" not in header:
        raise ModelError(
            f"{path} holds tensors, but no finished model. If it is the checkpoint of a training run, let "
            "`tessera train` finish that run, which then writes the model, or have what was learnt with `tessera "
            "models import`."
        )
    if type(header["format"]) is int and header["format"] > FORMAT:
        raise ModelError(
            f"{path} was made by a newer Tessera (format {header['format']}; this one reads {FORMAT}). Update it: "
            "python -m pip install --upgrade napari-tessera."
        )
    check_header(header)
    return {name: _shown(value) if name in TEXTS else value for name, value in header.items()}


def _shown(value: str | list[str]) -> str | list[str]:
    """Return a text, or each of several, without what turns the direction of the text around it."""
    return visible(value) if isinstance(value, str) else [visible(each) for each in value]
