"""ONNX's Unique, NonMaxSuppression, Col2Im and Det."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied, on_host, text

from anyback.errors import OperatorError, ShapeError
from anyback.onnx.operators.convolution import Col2Im
from anyback.onnx.operators.linear import Det
from anyback.onnx.operators.selection import NonMaxSuppression, Unique

RNG = np.random.default_rng(13)


def run(name: str, *given: Any, lib: Library | None, version: int = 22, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=version, **attributes)


# -- Unique --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_unique(lib: Library, order: int, axis: int | None) -> None:
    x = RNG.integers(0, 2, (5, 3)).astype(np.float32)
    y, first, inverse, counts = run("Unique", x, lib=lib, axis=axis, sorted=order, outputs=4)
    slices = [tuple(s.reshape(-1)) for s in ([*x.reshape(-1)] if axis is None else [*np.moveaxis(x, axis, 0)])]
    kinds = sorted(set(slices)) if order else list(dict.fromkeys(slices))
    found = [tuple(s.reshape(-1)) for s in ([*y] if axis is None else [*np.moveaxis(y, axis, 0)])]
    assert found == kinds
    assert y.dtype == np.float32
    assert first.tolist() == [slices.index(kind) for kind in kinds]
    assert inverse.tolist() == [kinds.index(s) for s in slices]
    assert counts.tolist() == [slices.count(kind) for kind in kinds]
    np.testing.assert_array_equal(run("Unique", x, lib=lib, axis=axis, sorted=order), y)


def test_unique_texts_and_nothing() -> None:
    y, first = run("Unique", text("b", "a", "b"), lib=None, sorted=0, outputs=2)
    assert (y.tolist(), first.tolist()) == (["b", "a"], [0, 1])
    y, _, _, counts = run("Unique", np.zeros((0,), np.int64), lib=None, outputs=4)
    assert (y.shape, counts.shape) == ((0,), (0,))
    with pytest.raises(ShapeError, match="axis 1"):
        run("Unique", np.zeros(3), lib=None, axis=1)


# -- NonMaxSuppression ---------------------------------------------------------------------------------


def area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    both = np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])
    shared = area(both) if (both[2:] > both[:2]).all() else 0.0
    return shared / (area(a) + area(b) - shared)


def suppressed(boxes: np.ndarray, scores: np.ndarray, most: int, iou: float, least: float) -> list[list[int]]:
    found = []
    for image, kind in itertools.product(range(scores.shape[0]), range(scores.shape[1])):
        kept: list[int] = []
        for box in sorted(range(scores.shape[2]), key=lambda i: (-scores[image, kind, i], i)):
            fits = all(overlap(boxes[image, box], boxes[image, other]) <= iou for other in kept)
            if scores[image, kind, box] > least and fits and len(kept) < most:
                kept.append(box)
        found += [[image, kind, box] for box in kept]
    return found


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize(("most", "iou", "least"), [(3, 0.3, 0.2), (50, 0.0, 0.0), (50, 1.0, 0.5), (0, 0.5, 0.0)])
def test_non_max_suppression(lib: Library, center: int, most: int, iou: float, least: float) -> None:
    low, size = RNG.uniform(0, 5, (2, 20, 2)), RNG.uniform(1, 3, (2, 20, 2))
    corners = np.concatenate([low, low + size], axis=-1).astype(np.float32)
    scores = RNG.integers(0, 9, (2, 3, 20)).astype(np.float32) / 10
    given = np.concatenate([low + size / 2, size], axis=-1) if center else corners[..., [2, 1, 0, 3]]
    arrays = lib.asarray(given), lib.asarray(scores)
    y = on_host(NonMaxSuppression.compute(*arrays, (most,), (iou,), (least,), center_point_box=center), lib)
    assert y.shape[1:] == (3,)
    assert y.tolist() == suppressed(corners, scores, most, iou, np.float32(least))


def test_no_box_and_other_shapes() -> None:
    y = NonMaxSuppression.compute(np.zeros((1, 0, 4), np.float32), np.zeros((1, 2, 0), np.float32), (3,))
    assert (y.shape, y.dtype) == ((0, 3), np.int64)
    with pytest.raises(ShapeError, match="NonMaxSuppression"):
        NonMaxSuppression.compute(np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 3), np.float32), (3,))


@pytest.mark.jax
def test_a_shape_that_depends_on_values_cannot_be_traced() -> None:
    jax = pytest.importorskip("jax")
    with pytest.raises(OperatorError, match="Unique"):
        jax.jit(Unique.compute)(np.zeros(3, np.float32))
    with pytest.raises(OperatorError, match="NonMaxSuppression"):
        jax.jit(NonMaxSuppression.compute)(np.zeros((1, 2, 4), np.float32), np.zeros((1, 1, 2), np.float32))


# -- Col2Im --------------------------------------------------------------------------------------------


def summed(x: np.ndarray, axes: Any, size: Any, strides: Any, pads: Any, dilations: Any) -> np.ndarray:
    rank = len(axes)
    counts = [
        (axes[i] + pads[i] + pads[rank + i] - dilations[i] * (size[i] - 1) - 1) // strides[i] + 1 for i in range(rank)
    ]
    channels = x.shape[1] // int(np.prod(size))
    columns = x.reshape(len(x), channels, *size, *counts)
    y = np.zeros((len(x), channels, *axes), x.dtype)
    for tap in np.ndindex(*size):
        for block in np.ndindex(*counts):
            at = tuple(block[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(rank))
            if all(0 <= p < n for p, n in zip(at, axes, strict=True)):
                y[(slice(None), slice(None), *at)] += columns[(slice(None), slice(None), *tap, *block)]
    return y


@pytest.mark.parametrize(
    ("axes", "size", "strides", "pads", "dilations"),
    [
        ((5, 5), (1, 5), (1, 1), (0, 0, 0, 0), (1, 1)),
        ((6, 7), (3, 2), (2, 1), (1, 0, 0, 1), (1, 2)),
        ((9,), (3,), (4,), (0, 2), (2,)),
        ((4, 4, 5), (2, 2, 3), (1, 2, 1), (0, 1, 0, 0, 1, 2), (1, 1, 1)),
        ((2, 2), (1, 1), (3, 3), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_images_from_columns(lib: Library, axes: Any, size: Any, strides: Any, pads: Any, dilations: Any) -> None:
    rank = len(axes)
    windows = np.prod(
        [(axes[i] + pads[i] + pads[rank + i] - dilations[i] * (size[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    )
    x = RNG.integers(-9, 9, (2, 3 * int(np.prod(size)), int(windows))).astype(np.float32)
    y = Col2Im.compute(lib.asarray(x), axes, size, strides=strides, pads=pads, dilations=dilations)
    np.testing.assert_array_equal(lib.to_numpy(y), summed(x, axes, size, strides, pads, dilations))


def test_columns_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="9 windows"):
        Col2Im.compute(np.zeros((1, 4, 8), np.float32), (4, 4), (2, 2))
    with pytest.raises(ShapeError, match=r"channels \* 4"):
        Col2Im.compute(np.zeros((1, 5, 9), np.float32), (4, 4), (2, 2))


# -- Det -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 3, 6])
def test_determinants(lib: Library, size: int) -> None:
    x = RNG.normal(size=(2, 3, size, size))
    if size > 1:
        x[0, 0, 0, 0] = 0  # the first number is no pivot
        x[0, 1, 1] = x[0, 1, 0]  # singular
        x[1, 1] = np.eye(size)[::-1]
    y = lib.to_numpy(Det.compute(lib.asarray(x)))
    assert y.shape == (2, 3)
    np.testing.assert_allclose(y, np.linalg.det(x), rtol=1e-4, atol=1e-5)


def test_only_square_matrices_have_one() -> None:
    for shape in ((3,), (2, 3)):
        with pytest.raises(ShapeError, match="square"):
            Det.compute(np.zeros(shape))
