"""What hypothesis draws: calls from Python, and command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import dask.array
import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from napari_tessera.cli.evaluate import evaluate_parser
from napari_tessera.cli.models import models_parser
from napari_tessera.cli.replay import recipe_parser
from napari_tessera.cli.segment import method_parser
from napari_tessera.cli.train import train_parser
from napari_tessera.methods.registry import METHODS, method_named
from napari_tessera.training.settings import DECLARATION
from tests.helpers.generated_inputs import DTYPES, cases, values_of

TOGETHER = 25
"""Values drawn at a time; the first that hypothesis draws is always the simplest there is."""

WITHOUT_NETWORK = [method for method in METHODS if method.name not in ("unet", "mask_rcnn", "panoptic")]
ODD_NUMBERS = (10**400, 2**70, -(2**70), 1e308, -1e308, 1e300, 1e-320, float("nan"), float("inf"))
ODD_OPTIONS: dict[str, tuple[Any, ...]] = {
    "region": (5, "x", (), {"planes": 3}),
    "blocks": (0, -1, 1, 3, (2, 2), True, "x", 2**70, 1.5, (1e308, 2)),
    "n_workers": (0, -1, 1, 10**9, "x", 1.5),
    "measure": (3, None, "x", False),
    "name": (5, "", "\x1b[31m", "a" * 300),
    "unit": ("µm", "größe", 5, "", "\x1b", "\ud800"),
    "units": ("physical", "x", None),
    "spacing": (1e300, 1e-320, float("nan"), -1, (1, 2, 3, 4), {"Y": 2}, {"Y": "x"}, (), [[1]], 10**400),
    "axes": ("YXYX", 5, "", "QYX", "ZYXTC", "XZY", "yx", "\x1b", "Y"),
    "input_records": (5, {"markers": 5}, []),
    "spatial": (5, "YX"),
    "method": ("x",),
    "zzz": (1,),
}
FILES = (
    "a.tif", "labels.tif", "points.csv", "recipe.json", "a.npy", "a.zarr", "images", "labels", "missing.tif",
    "scene.json",
)  # fmt: skip
IMAGES, LABELS = ("a.tif", "a.npy", "a.zarr", "labels.tif"), ("labels.tif", "labels", "scene.json", "a.tif")
COMMANDS = [
    *(2 * [method.name for method in WITHOUT_NETWORK]), "unet", "run", "run", "evaluate", "evaluate", "models",
    "methods", "", "x", "--version",
]  # fmt: skip
SUITABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "run": (("recipe.json",), IMAGES), "evaluate": (LABELS, LABELS), "methods": (),
    "models": (("show", "import", "remove"), ("nuclei-unet", "a.tif", "nuclei")),
}  # fmt: skip
"""What a command takes in each place; all others take an image."""
OUTPUTS = (
    "out.tif", "out.ome.tif", "out.zarr", "out.png", "out.npy", "out.csv", "out", "out/", "new/out.tif", "a.tif", "",
    "labels.tif", "a.tif/out.tif", ".", "out.\udcff.tif", "x" * 260 + ".tif",
)  # fmt: skip
TEXTS = (
    "", "0", "1", "-1", "2.5", "1e308", "1e-320", "nan", "inf", "-inf", "9" * 400, "auto", "otsu", "YX", "ZYX", "CYX",
    "µm", "größe", "=1+1", "\x1b[31m", "a\u202eb", "\udcff", "-", "--", "%s", "{}", "*.tif", "127.0.0.1:1", "x" * 300,
)  # fmt: skip
SLOW_OPTIONS = {"--steps", "--epochs", "--minutes", "--patch", "--batch", "--widths", "--validations", "--scheduler"}
SHORT_TRAINING = [
    "--steps=1", "--widths=4,8", "--patch=16", "--batch=1", "--threads=1", "--device=cpu",
]  # fmt: skip


def drawn(strategy: st.SearchStrategy[Any], number: int) -> Any:
    """Return the value that belongs to a number: always the same one."""
    values = _drawn_together(strategy, number // TOGETHER)
    return values[number % TOGETHER % len(values)]


@lru_cache(2)
def _drawn_together(strategy: st.SearchStrategy[Any], start: int) -> list[Any]:
    found: list[Any] = []

    @seed(start)
    @settings(max_examples=TOGETHER, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found


def _unknown_chunks(image: np.ndarray) -> Any:
    lazy = dask.array.from_array(image)
    return lazy[lazy.reshape(-1)[: len(lazy)] > 0] if image.ndim and image.size else lazy


def _as_torch(image: np.ndarray) -> Any:
    import torch

    return torch.zeros(image.shape)


FORMS: tuple[Callable[[np.ndarray], Any], ...] = (
    np.ndarray.tolist, np.asfortranarray, np.transpose, np.ma.masked_invalid, dask.array.from_array, _unknown_chunks,
    _as_torch, lambda image: image.astype(object), lambda image: image.astype(image.dtype.newbyteorder()),
    lambda image: image[None], np.flip, lambda image: "a.tif", lambda image: None,
)  # fmt: skip


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    """An array of 0 to 5 axes, with whatever its type can hold."""
    shape = draw(
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0 if draw(st.integers(0, 9)) == 0 else 1, max_side=6)
    )
    return draw(hnp.arrays(draw(DTYPES), shape))


@st.composite
def python_calls(draw: st.DrawFn) -> tuple[str, Any, dict[str, Any]]:
    """A method, an array in some form, and options, some of them odd."""
    method = draw(st.sampled_from(WITHOUT_NETWORK))
    main, options = draw(cases(method))
    odd = draw(st.sampled_from(["", "array", "form", "option", "options", "number"]))
    if odd == "array":
        main = draw(any_array())
    elif odd == "form":
        main = draw(st.sampled_from(FORMS))(main)
    elif odd == "number":
        options = {draw(st.sampled_from(method.parameters)).name: draw(st.sampled_from(ODD_NUMBERS))}
    elif odd:
        names = draw(st.lists(st.sampled_from(sorted(ODD_OPTIONS)), min_size=1, max_size=1 if odd == "option" else 3))
        options |= {name: draw(st.sampled_from(ODD_OPTIONS[name])) for name in names}
    return options.pop("method", method.name), main, options


@st.composite
def training_settings(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(DECLARATION.parameters), unique=True, max_size=5))
    return {each.name: draw(st.one_of(values_of(each), st.sampled_from([*ODD_NUMBERS, *TEXTS]))) for each in chosen}


def _parser(command: str) -> argparse.ArgumentParser | None:
    own = {"run": recipe_parser, "evaluate": evaluate_parser, "train": train_parser, "models": models_parser}
    names = {method.name for method in METHODS}
    return own[command]() if command in own else method_parser(method_named(command)) if command in names else None


TEXT = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(FILES), st.integers().map(str), st.floats().map(str),
    st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), max_size=6),
)  # fmt: skip


@st.composite
def option(draw: st.DrawFn, parser: argparse.ArgumentParser) -> list[str]:
    """An option of a parser with values that may or may not suit it."""
    actions = [
        action
        for action in parser._actions
        if action.option_strings and not {"--out", *SLOW_OPTIONS} & {*action.option_strings}
    ]
    action = draw(st.sampled_from(actions))
    count = {None: 1, "+": draw(st.integers(1, 4))}.get(action.nargs, action.nargs)
    one = st.one_of(st.sampled_from(sorted(map(str, action.choices))), TEXT) if action.choices else TEXT
    return [draw(st.sampled_from(action.option_strings)), *(draw(one) for _ in range(count))]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with files, options and now and then junk."""
    command = draw(st.sampled_from(COMMANDS))
    parser, words = _parser(command), [command]
    for suitable in SUITABLE.get(command, (IMAGES,)):
        words.append(draw(st.one_of(*[st.sampled_from(suitable)] * 4, st.sampled_from(FILES), TEXT)))
    for _ in range(draw(st.integers(0, 3)) if parser else 0):
        words += draw(option(parser))
    if command not in ("models", "methods", "evaluate"):
        words += ["-o", draw(st.sampled_from(OUTPUTS))]
    if draw(st.integers(0, 9)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(TEXT))
    return words


@st.composite
def training_lines(draw: st.DrawFn) -> list[str]:
    """A training of one step, with some further options."""
    words = draw(st.sampled_from([["images", "labels"], ["--index", "index.csv"], ["a.tif", "labels.tif"]]))
    parser = train_parser()
    more = [word for _ in range(draw(st.integers(0, 3))) for word in draw(option(parser))]
    return ["train", *words, "-o", draw(st.sampled_from(["out.safetensors", "out", "a.tif"])), *SHORT_TRAINING, *more]


CALLS, SETTINGS = python_calls(), training_settings()
LINES = {"commands": command_lines(), "trainings": training_lines()}
