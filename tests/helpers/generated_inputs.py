"""Inputs of methods as hypothesis draws them, good and bad; and what labels of any input must be like."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

import napari_tessera as tessera
from napari_tessera.core import labels as label_arrays
from napari_tessera.core.method import Input, Method, Parameter
from napari_tessera.core.spec import Role

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(),
)


def values_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Mostly allowed values; now and then none at all."""
    wrong = st.sampled_from([None, "no", -1, 0, 1e9, float("nan"), float("inf"), True])
    if parameter.choices:
        right: st.SearchStrategy[Any] = st.sampled_from(parameter.choices)
    elif parameter.kind is bool:
        right = st.booleans()
    elif parameter.kind is int:
        right = st.integers(int(max(parameter.range.low, -50)), int(min(parameter.range.high, 50)))
    elif parameter.kind is float:
        right = st.floats(max(parameter.range.low, -1e6), min(parameter.range.high, 1e6))
    else:
        right = st.text(max_size=5)
    return st.one_of(right, right, right, right, right, wrong)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """An array of any dtype, 1-D to 4-D, some constant, some without a pixel, some strided."""
    shape = draw(
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0 if draw(st.integers(0, 9)) == 0 else 1, max_side=9)
    )
    image = draw(hnp.arrays(draw(DTYPES), shape))
    return image[..., ::2] if draw(st.booleans()) and image.shape[-1] > 2 else image


@st.composite
def labellings(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    return draw(hnp.arrays(draw(st.sampled_from([np.uint8, np.int32, np.int64])), shape, elements=st.integers(0, 6)))


def input_of(entry: Input, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Labels that fit, points that mostly fit, or nothing where nothing is needed."""
    fitting: list[st.SearchStrategy[Any]] = [st.none()] if entry.is_optional else []
    if Role.LABELS in entry.roles:
        fitting.append(labellings(shape))
    if Role.POINTS in entry.roles:
        inside = [st.floats(0, max(0, side - 1)) for side in shape]
        fitting.append(
            st.lists(st.tuples(*inside), max_size=4).map(lambda rows: np.array(rows).reshape(-1, len(shape)))
        )
    fitting.append(st.just(np.zeros((2, 5), np.int32)))
    return st.one_of(*fitting)


@st.composite
def cases(draw: st.DrawFn, method: Method) -> tuple[np.ndarray, dict[str, Any]]:
    main = draw(images())
    if not method.takes_image and draw(st.integers(0, 9)):
        main = draw(labellings(main.shape))
    chosen = draw(st.lists(st.sampled_from(method.parameters), unique=True, max_size=5)) if method.parameters else []
    options = {parameter.name: draw(values_of(parameter)) for parameter in chosen}
    options |= {entry.name: draw(input_of(entry, main.shape)) for entry in method.inputs[1:]}
    axes = {1: [None, "X"], 2: [None, "YX", "XY"], 3: [None, "ZYX", "TYX", "YXC"], 4: [None, "TZYX", "ZYXC", "CYX"]}
    options["axes"] = draw(st.sampled_from(axes[main.ndim]))
    options["spacing"] = draw(st.sampled_from([None, None, 0.5, 2, (1, 2), (3, 1, 1), 0, "x"]))
    return main, options


def check_labels(result: tessera.Result, main: np.ndarray) -> None:
    labels, axes = result.labels, result.provenance["axes"]
    assert labels.shape == tuple(side for axis, side in zip(axes, main.shape, strict=True) if axis != "C")
    is_probability = result.images[0].kind == "probabilities"
    assert labels.dtype in ((np.float32,) if is_probability else (np.int32, np.int64))
    assert labels.min() >= 0
    if result.images[0].kind == "objects" and "T" not in axes and axes != "XY":
        np.testing.assert_array_equal(labels, label_arrays.renumber(labels.copy()))
    assert is_probability or all(len(column) == len(result.table["label"]) for column in result.table.values())
