"""ONNX's operators on images: convolution, pooling, resizing, sampling, regions.

PyTorch says on NumPy, in float64 and for random shapes, what is right; every other library must give the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes  # noqa: F401  # so that NumPy knows bfloat16
import numpy as np
import pytest
from conftest import Library

from anyback.errors import AnybackError, DataError, OperatorError, ShapeError
from anyback.onnx._operator import find
from anyback.onnx.operators import convolution, grid, pooling, resize, rois

SEEDS = range(40)


def run(name: str, version: int, *given: Any, **attributes: Any) -> Any:
    found = find("", name, version)
    assert found is not None
    return found.op.compute(*given, **attributes)


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


class Windows:
    """Random sizes of an image and of windows that fit."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.axes = 1 + seed % 3
        self.size, self.stride, self.dilation = (self.numbers(1, 3) for _ in range(3))
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.size, strict=True)]
        self.image = tuple(self.integer(low, 9) for low in reach)
        self.groups = self.integer(1, 3)
        self.channels, self.filters = self.groups * self.integer(1, 2), self.groups * self.integer(1, 3)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def numbers(self, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.integer(low, high) for _ in range(self.axes))

    def array(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape)

    def of(self, family: str) -> Any:
        import torch

        return getattr(torch.nn.functional, f"{family}{self.axes}d")


def tensor(x: np.ndarray) -> Any:
    import torch

    return torch.tensor(x)


# -- Against PyTorch ----------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("seed", SEEDS)
def test_convolutions_are_those_of_pytorch(seed: int) -> None:
    import torch

    w = Windows(seed)
    x, bias = w.array(2, w.channels, *w.image), w.array(w.filters)
    filters = w.array(w.filters, w.channels // w.groups, *w.size)
    fronts, behinds = w.numbers(0, 3), w.numbers(0, 3)
    more = {"strides": w.stride, "dilations": w.dilation, "group": w.groups, "pads": (*fronts, *behinds)}
    sides = [n for pair in zip(reversed(fronts), reversed(behinds), strict=True) for n in pair]
    wide = torch.nn.functional.pad(tensor(x), sides)
    expected = w.of("conv")(wide, tensor(filters), tensor(bias), w.stride, 0, w.dilation, w.groups)
    close(run("Conv", 11, x, filters, bias, **more), expected)

    filters = w.array(w.channels, w.filters // w.groups, *w.size)
    extra = tuple(w.integer(0, max(pair) - 1) for pair in zip(w.stride, w.dilation, strict=True))
    whole = w.of("conv_transpose")(
        tensor(x), tensor(filters), tensor(bias), w.stride, 0, extra, w.groups, w.dilation
    ).numpy()
    cut = [slice(a, n - b) for a, b, n in zip(fronts, behinds, whole.shape[2:], strict=True)]
    if all(s.stop > s.start for s in cut):
        close(run("ConvTranspose", 11, x, filters, bias, output_padding=extra, **more), whole[:, :, *cut])


@pytest.mark.torch
@pytest.mark.parametrize("seed", SEEDS)
def test_poolings_are_those_of_pytorch(seed: int) -> None:
    w = Windows(seed)
    x = np.round(w.array(2, w.channels, *w.image), 1)  # with equal numbers
    x[w.rng.random(x.shape) < 0.05] = -math.inf
    pads = tuple(w.integer(0, k // 2) for k in w.size)
    ceil = w.integer(0, 1)
    more = {"kernel_shape": w.size, "strides": w.stride, "pads": pads * 2, "ceil_mode": ceil}
    expected, places = w.of("max_pool")(tensor(x), w.size, w.stride, pads, w.dilation, bool(ceil), return_indices=True)
    starts = np.arange(2 * w.channels).reshape(2, w.channels, *[1] * w.axes) * math.prod(w.image)
    y, indices = run("MaxPool", 12, x, dilations=w.dilation, outputs=2, **more)
    close(y, expected)
    np.testing.assert_array_equal(indices, places.numpy() + starts)
    close(run("MaxPool", 12, x, dilations=w.dilation, **more), expected)
    x = w.array(*x.shape)
    for count in (0, 1):
        expected = w.of("avg_pool")(tensor(x), w.size, w.stride, pads, bool(ceil), bool(count))
        close(run("AveragePool", 19, x, count_include_pad=count, **more), expected)


def average(x: np.ndarray, size: int, step: int, apart: int, front: int, behind: int, count: bool) -> np.ndarray:
    """Return the means of windows of one axis, number by number."""
    n, found = x.shape[-1], []
    for start in range(-front, n + behind - apart * (size - 1), step):
        places = [start + k * apart for k in range(size)]
        inside = [x[..., p] for p in places if 0 <= p < n]
        found.append(sum(inside) / (size if count else len(inside)))
    return np.stack(found, axis=-1)


@pytest.mark.parametrize("count", [0, 1])
def test_averages_of_places_that_are_apart(lib: Library, count: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 11)).astype(np.float32)
    y = run(
        "AveragePool", 19, lib.asarray(x), kernel_shape=(3,), strides=(2,), dilations=(2,), pads=(2, 1),
        count_include_pad=count,
    )  # fmt: skip
    close(lib.to_numpy(y), average(x.astype(float), 3, 2, 2, 2, 1, bool(count)), 1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("seed", SEEDS)
def test_sampling_is_that_of_pytorch(seed: int) -> None:
    import torch

    w = Windows(seed)
    axes = 2 + seed % 2
    names = {"nearest": "nearest", "linear": "bilinear", **({"cubic": "bicubic"} if axes == 2 else {})}
    x = w.array(2, 3, *[w.integer(1, 6) for _ in range(axes)])
    out = [w.integer(1, 5) for _ in range(axes)]
    places = w.rng.uniform(-2.5, 2.5, (2, *out, axes))
    places.flat[0] = 1e30
    for (mode, theirs), padding, align in itertools.product(names.items(), ("zeros", "border", "reflection"), (0, 1)):
        if padding == "reflection":
            places.flat[0] = 0.3
        expected = torch.nn.functional.grid_sample(tensor(x), tensor(places), theirs, padding, bool(align))
        close(run("GridSample", 20, x, places, mode=mode, padding_mode=padding, align_corners=align), expected)
        close(run("GridSample", 16, x, places, mode=theirs, padding_mode=padding, align_corners=align), expected)
    maps = w.array(2, axes, axes + 1)
    for align in (0, 1):
        expected = torch.nn.functional.affine_grid(tensor(maps), [2, 3, *[n + 1 for n in out]], bool(align))
        close(run("AffineGrid", 20, maps, (2, 3, *[n + 1 for n in out]), align_corners=align), expected)


@pytest.mark.torch
@pytest.mark.parametrize("seed", SEEDS)
def test_resizing_is_that_of_pytorch(seed: int) -> None:
    import torch

    w = Windows(seed)
    x, out = w.array(2, 3, *w.image), [w.integer(2, 14) for _ in range(w.axes)]
    sizes, t = (2, 3, *out), tensor(x)
    linear, interpolate = ("linear", "bilinear", "trilinear")[w.axes - 1], torch.nn.functional.interpolate

    def resized(**attributes: Any) -> np.ndarray:
        return run("Resize", 19, x, None, None, sizes, **attributes)

    floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    close(resized(**floor), interpolate(t, out, mode="nearest"))
    close(resized(nearest_mode="round_prefer_ceil"), interpolate(t, out, mode="nearest-exact"))
    for align, mode in ((False, "half_pixel"), (True, "align_corners")):
        more = {"coordinate_transformation_mode": mode}
        close(resized(mode="linear", **more), interpolate(t, out, mode=linear, align_corners=align))
        if w.axes == 2:
            close(resized(mode="cubic", **more), interpolate(t, out, mode="bicubic", align_corners=align))
    if w.axes == 2:
        fine = {"antialias": 1, "exclude_outside": 1}
        close(resized(mode="linear", **fine), interpolate(t, out, mode="bilinear", antialias=True))
        expected = interpolate(t, out, mode="bicubic", antialias=True)
        close(resized(mode="cubic", cubic_coeff_a=-0.5, **fine), expected)


# -- Every library gives what NumPy gives -------------------------------------------------------------

RNG = np.random.default_rng(5)
IMAGE = RNG.normal(size=(2, 4, 6, 5))
REGIONS = np.asarray([[0.3, 0.2, 4.1, 5.4], [-1.0, 1.0, 3.0, 9.0]])
CASES: dict[str, Callable[..., Any]] = {
    "conv": lambda x, f: convolution.Conv.compute(x, f(RNG_FILTERS), auto_pad="SAME_UPPER", strides=(2, 1), group=2),
    "transposed": lambda x, f: convolution.ConvTranspose.compute(x, f(RNG_FILTERS), strides=(2, 3), group=2),
    "transposed, dilated": lambda x, f: convolution.ConvTranspose.compute(
        x, f(RNG_FILTERS), strides=(2, 1), dilations=(2, 3), pads=(1, 0, 2, 1), group=2
    ),
    "deformable": lambda x, f: convolution.DeformConv.compute(
        x, f(RNG_FILTERS), f(OFFSETS), None, f(np.abs(OFFSETS[:, ::2])), group=2
    ),
    "maxima": lambda x, f: pooling.MaxPool.compute(x, kernel_shape=(2, 3), pads=(1, 1, 0, 1), strides=(2, 2)),
    "places": lambda x, f: pooling.MaxPool.compute(x, kernel_shape=(2, 3), pads=(1, 1, 0, 1), outputs=2)[1],
    "means": lambda x, f: pooling.AveragePool.compute(x, kernel_shape=(3, 3), auto_pad="SAME_LOWER"),
    "roots": lambda x, f: pooling.LpPool.compute(x, kernel_shape=(2, 2), dilations=(2, 1), ceil_mode=1, p=3),
    "whole": lambda x, f: pooling.MaxPool.compute(x, kernel_shape=(6, 5))
    + pooling.AveragePool.compute(x, kernel_shape=(6, 5), count_include_pad=1),
    "global": lambda x, f: pooling.GlobalAveragePool.compute(x) + pooling.GlobalMaxPool.compute(x),
    "nearest": lambda x, f: resize.Resize.compute(x, None, (1.0, 1.0, 1.7, 0.6)),
    "cubic": lambda x, f: resize.Resize.compute(x, None, None, (9, 3), axes=(-2, -1), mode="cubic", antialias=1),
    "crop": lambda x, f: resize.Resize.compute(
        x, (0.1, 0.2, 1.3, 0.8), None, (4, 7), axes=(2, 3), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0,
    ),
    "channels": lambda x, f: resize.Resize.compute(x, None, (2.0, 0.5, 1.0, 1.0), None, mode="linear"),
    "sampled": lambda x, f: grid.GridSample.compute(x, f(PLACES), mode="cubic", padding_mode="reflection"),
    "affine": lambda x, f: grid.AffineGrid.compute(f(MAPS), (2, 1, 3, 4)),
    "regions": lambda x, f: rois.RoiAlign.compute(
        x, f(REGIONS), f(np.asarray([1, 0])), output_height=2, output_width=3, sampling_ratio=2
    ),
    "largest of regions": lambda x, f: rois.MaxRoiPool.compute(
        x, f(np.concatenate([[[1], [0]], REGIONS], axis=1)), pooled_shape=(2, 3)
    ),
}  # fmt: skip
RNG_FILTERS = RNG.normal(size=(4, 2, 2, 3))
OFFSETS = RNG.normal(size=(2, 12, 5, 3)) * 2
PLACES = RNG.uniform(-2, 2, (2, 3, 4, 2))
MAPS = RNG.normal(size=(2, 2, 3))


def like(x: np.ndarray, dtype: str) -> np.ndarray:
    return x.astype(dtype) if x.dtype.kind == "f" else x


@pytest.mark.parametrize("name", CASES)
def test_every_library_gives_the_same(lib: Library, name: str) -> None:
    expected = CASES[name](IMAGE, lambda x: x)
    for dtype in lib.dtypes:
        if dtype in ("float16", "bfloat16") and name not in ("means", "global", "cubic", "sampled", "maxima"):
            continue  # a sum of many products in half precision
        x = lib.asarray(IMAGE, dtype)
        inner = "float32" if "16" in dtype else dtype
        y = CASES[name](x, lambda a, inner=inner: lib.asarray(like(a, inner), None))
        if name != "places":
            assert y.dtype == x.dtype or name in ("affine",)
        y = lib.to_numpy(y).astype(float)
        digits = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 2e-5, "float64": 1e-11}[dtype]
        close(y, expected, digits)


@pytest.mark.jax
@pytest.mark.parametrize("name", CASES)
def test_under_jit_and_with_a_gradient(name: str) -> None:
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(IMAGE.astype(np.float32))

    def f(x: Any) -> Any:
        return CASES[name](x, lambda a: jnp.asarray(like(a, "float32")))

    expected = CASES[name](IMAGE, lambda a: a)
    close(jax.jit(f)(x), expected, 2e-5)
    if name not in ("places", "affine"):
        slope = jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 2)))(x)
        step = np.random.default_rng(1).normal(size=IMAGE.shape) * 1e-6
        change = [np.sum(CASES[name](IMAGE + sign * step, lambda a: a) ** 2) for sign in (1, -1)]
        np.testing.assert_allclose(np.sum(slope * step), (change[0] - change[1]) / 2, rtol=2e-3, atol=1e-8)


# -- What PyTorch has not -----------------------------------------------------------------------------


def test_integers_pool_and_resize_in_their_type(lib: Library) -> None:
    x = np.asarray([[[-7, 3, 120, -128]]], np.int8)
    y = run("MaxPool", 12, lib.asarray(x, None), kernel_shape=(2,), pads=(1, 1))
    np.testing.assert_array_equal(lib.to_numpy(y), np.asarray([[[-7, 3, 120, 120, -128]]], np.int8))
    x = np.asarray([[[0, 255, 10]]], np.uint8)
    y = run("Resize", 19, lib.asarray(x, None), None, None, (1, 1, 6), mode="cubic")
    assert lib.to_numpy(y).dtype == np.uint8  # what a cubic swings beyond the limits is cut off
    expected = run("Resize", 19, x.astype(float), None, None, (1, 1, 6), mode="cubic")
    np.testing.assert_array_equal(lib.to_numpy(y), np.clip(np.round(expected), 0, 255))


def test_old_versions_resize_by_simple_rules() -> None:
    x = np.asarray([[[[1.0, 2.0, 3.0, 4.0]]]])
    # The backend tests of ONNX 1.5: an axis that becomes smaller takes the number behind.
    np.testing.assert_array_equal(run("Resize", 10, x, (1.0, 1.0, 1.0, 0.6)), [[[[1.0, 3.0]]]])
    np.testing.assert_array_equal(
        run("Upsample", 7, x, (1.0, 1.0, 2.0, 1.5))[0, 0], [[1.0, 1.0, 2.0, 3.0, 3.0, 4.0]] * 2
    )
    np.testing.assert_array_equal(run("Upsample", 1, x, height_scale=2.0, width_scale=1.0)[0, 0], x[0, 0].repeat(2, 0))
    doubled = run("Upsample", 9, x, (1.0, 1.0, 1.0, 2.0), mode="linear")
    np.testing.assert_allclose(doubled[0, 0, 0], [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0])


@pytest.mark.parametrize(("scale", "old", "new"), [(0.7, 10, 7), (0.1, 30, 3), (0.3, 20, 6), (1.1, 10, 11)])
def test_scales_are_meant_as_float32(scale: float, old: int, new: int) -> None:
    x = np.arange(float(old)).reshape(1, 1, old)
    scale = float(np.float32(scale))
    floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = run("Resize", 19, x, None, (1.0, 1.0, scale), **floor)
    assert y.shape == (1, 1, new)
    exact = [(i * old) // new for i in range(new)]  # all these scales are new / old but for their rounding
    np.testing.assert_array_equal(y[0, 0], exact)


def test_numbers_that_are_nan_or_infinite_stay_where_they_are() -> None:
    x = np.zeros((1, 1, 3000))
    x[0, 0, 1500] = math.nan
    y = run("Resize", 19, x, None, None, (1, 1, 1500), mode="linear")
    assert 1 <= np.isnan(y).sum() <= 2
    y = run("MaxPool", 12, x, kernel_shape=(2,), strides=(2,), outputs=2)
    assert np.isnan(y[0]).sum() == 1
    assert y[1][np.isnan(y[0])] == 1500


def test_unpooling_puts_maxima_back(lib: Library) -> None:
    x = np.random.default_rng(0).permutation(2 * 3 * 16 * 5).reshape(2, 3, 8, 10).astype(np.float32)
    y, places = run("MaxPool", 12, lib.asarray(x), kernel_shape=(2, 5), strides=(2, 5), outputs=2)
    back = lib.to_numpy(run("MaxUnpool", 11, y, places, kernel_shape=(2, 5), strides=(2, 5)))
    expected = np.zeros_like(x)
    expected.flat[lib.to_numpy(places).reshape(-1)] = lib.to_numpy(y).reshape(-1)
    np.testing.assert_array_equal(back, expected)
    wider = run("MaxUnpool", 11, y, places, (2, 3, 9, 9), kernel_shape=(2, 5), strides=(2, 5))
    np.testing.assert_array_equal(lib.to_numpy(wider)[:, :, :8], expected[..., :9])
    assert not lib.to_numpy(wider)[:, :, 8].any()


def sample(image: np.ndarray, y: float, x: float) -> float:
    """Return an image between its numbers, as RoiAlign takes it."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    low, left = min(int(y), height - 2), min(int(x), width - 2)
    b, a = y - low, x - left
    top = image[low, left] * (1 - a) + image[low, left + 1] * a
    return float(top * (1 - b) + (image[low + 1, left] * (1 - a) + image[low + 1, left + 1] * a) * b)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_regions_are_means_of_samples(half: bool, ratio: int) -> None:
    images, expected = (1, 0), np.zeros((2, 4, 2, 3))
    for r, (x1, y1, x2, y2) in enumerate(REGIONS * 0.8 - (0.5 if half else 0.0)):
        high, wide = (y2 - y1, x2 - x1) if half else (max(y2 - y1, 1), max(x2 - x1, 1))
        down, right = (ratio or math.ceil(high / 2)), (ratio or math.ceil(wide / 3))
        for c, i, j in np.ndindex(4, 2, 3):
            expected[r, c, i, j] = np.mean(
                [
                    sample(
                        IMAGE[images[r], c],
                        y1 + (i + (s + 0.5) / down) * high / 2,
                        x1 + (j + (t + 0.5) / right) * wide / 3,
                    )
                    for s in range(down)
                    for t in range(right)
                ]
            )
    more = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": 0.8}
    mode = {"coordinate_transformation_mode": "half_pixel" if half else "output_half_pixel"}
    close(run("RoiAlign", 16, IMAGE, REGIONS, np.asarray(images), **more, **mode), expected)
    if not half:
        close(run("RoiAlign", 10, IMAGE, REGIONS, np.asarray(images), **more), expected)


def test_deformed_by_whole_numbers_is_a_shift() -> None:
    filters, x = RNG_FILTERS, IMAGE
    offsets = np.zeros((2, 12, 5, 3))
    offsets[:, 0::2], offsets[:, 1::2] = 1.0, -1.0
    wide = np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 0)))
    expected = run("Conv", 11, wide, filters, group=2)[:, :, 1:, :3]
    close(run("DeformConv", 19, x, filters, offsets, group=2), expected)


def test_transposed_to_a_given_shape() -> None:
    x, filters = np.ones((1, 1, 2)), np.ones((1, 1, 3))
    whole = run("ConvTranspose", 11, x, filters, strides=(2,))[0, 0]
    np.testing.assert_array_equal(whole, [1, 1, 2, 1, 1])
    given = {"strides": (2,), "output_shape": (4,)}
    np.testing.assert_array_equal(run("ConvTranspose", 11, x, filters, **given)[0, 0], whole[1:])
    upper = run("ConvTranspose", 11, x, filters, auto_pad="SAME_UPPER", **given)
    np.testing.assert_array_equal(upper[0, 0], whole[:4])
    longer = run("ConvTranspose", 11, x, filters, strides=(2,), output_shape=(7,))
    np.testing.assert_array_equal(longer[0, 0], [*whole, 0, 0])


@pytest.mark.parametrize("name", ["conv", "maxima", "means", "nearest", "cubic", "global"])
def test_no_images_give_no_images(name: str) -> None:
    y = CASES[name](IMAGE[:0], lambda x: x)
    assert y.shape == (0, *CASES[name](IMAGE, lambda x: x).shape[1:])


WRONG: list[tuple[type[AnybackError], str, tuple[Any, ...], dict[str, Any]]] = [
    (ShapeError, "Conv", (IMAGE, RNG_FILTERS), {}),
    (ShapeError, "Conv", (IMAGE, RNG_FILTERS), {"group": 2, "kernel_shape": (3, 3)}),
    (ShapeError, "Conv", (IMAGE, RNG_FILTERS), {"group": 2, "pads": (-1, 0, 0, 0)}),
    (DataError, "Conv", (IMAGE, RNG_FILTERS), {"group": 2, "auto_pad": "SAME"}),
    (ShapeError, "ConvTranspose", (IMAGE[:, :3], RNG_FILTERS), {}),
    (ShapeError, "ConvTranspose", (IMAGE, RNG_FILTERS), {"pads": (9, 9, 9, 9)}),
    (DataError, "ConvTranspose", (IMAGE, RNG_FILTERS), {"output_shape": (1 << 20, 1 << 20)}),
    (ShapeError, "DeformConv", (IMAGE, RNG_FILTERS, OFFSETS[:, :3]), {"group": 2}),
    (ShapeError, "MaxPool", (IMAGE,), {"kernel_shape": (9, 9)}),
    (DataError, "MaxPool", (IMAGE,), {"kernel_shape": (1 << 12, 1 << 12), "pads": (1 << 12,) * 4}),
    (DataError, "AveragePool", (IMAGE,), {"kernel_shape": (2, 2), "pads": (1 << 40, 0, 0, 0)}),
    (ShapeError, "MaxUnpool", (IMAGE, np.zeros((1, 1), np.int64)), {"kernel_shape": (1, 1)}),
    (ShapeError, "GlobalMaxPool", (IMAGE[0, 0],), {}),
    (DataError, "Resize", (IMAGE, None, (1.0,) * 4, (1,) * 4), {}),
    (ShapeError, "Resize", (IMAGE, None, (1.0,) * 3), {}),
    (ShapeError, "Resize", (IMAGE, None, (1.0, 1.0, math.nan, 1.0)), {}),
    (DataError, "Resize", (IMAGE, None, (1e4, 1e4, 1e4, 1e4)), {}),
    (DataError, "Resize", (IMAGE, None, (1.0, 1.0, 2.0, 2.0)), {"mode": "quintic"}),
    (DataError, "Resize", (IMAGE, None, (1.0, 1.0, 2.0, 2.0)), {"coordinate_transformation_mode": "x"}),
    (ShapeError, "GridSample", (IMAGE, PLACES[..., :1]), {}),
    (DataError, "GridSample", (IMAGE, PLACES), {"mode": "x"}),
    (ShapeError, "AffineGrid", (MAPS, (3, 1, 2, 2)), {}),
    (ShapeError, "RoiAlign", (IMAGE, REGIONS, np.zeros(3, np.int64)), {}),
    (DataError, "RoiAlign", (IMAGE, REGIONS, np.zeros(2, np.int64)), {"mode": "x"}),
    (DataError, "RoiAlign", (IMAGE, REGIONS, np.zeros(2, np.int64)), {"sampling_ratio": 1 << 30}),
    (ShapeError, "MaxRoiPool", (IMAGE, np.ones((1, 5))), {"pooled_shape": (1, 1 << 20)}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "name", "given", "attributes"), WRONG)
def test_what_does_not_fit_is_one_clear_error(
    error: type[AnybackError], name: str, given: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    with pytest.raises(error, match=f"{name}|pooling|conv"):
        run(name, 22, *given, **attributes)


def test_a_window_that_is_the_whole_image() -> None:
    expected = IMAGE.max(axis=(2, 3), keepdims=True) + IMAGE.mean(axis=(2, 3), keepdims=True)
    close(CASES["whole"](IMAGE, lambda x: x), expected)
    close(CASES["global"](IMAGE, lambda x: x), expected)


@pytest.mark.jax
def test_samples_by_the_size_of_regions_are_refused_under_jit() -> None:
    import jax

    with pytest.raises(OperatorError, match="sampling_ratio"):
        jax.jit(lambda r: run("RoiAlign", 16, jax.numpy.asarray(IMAGE), r, jax.numpy.zeros(2, int)))(REGIONS)
