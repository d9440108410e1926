"""ONNX's operators of shapes, places and parts: NumPy says what is right, on every library, exactly."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries
from onnx_apply import called

from anyback.errors import AnybackError, DataError, ShapeError
from anyback.onnx.operators import index, shape

RNG = np.random.default_rng(7)
CUBE = RNG.normal(size=(3, 4, 5)).astype(np.float32)
IMAGES = RNG.normal(size=(2, 8, 4, 6)).astype(np.float32)
FAR, BACK = (1 << 63) - 1, -(1 << 63)


def same(found: Any, wanted: Any, dtype: Any = None) -> None:
    """Compare exactly, types too; integers of 32 or of 64 bits, as the library has them."""
    wanted = np.asarray(wanted, dtype)
    assert found.dtype == wanted.dtype or (found.dtype.kind == wanted.dtype.kind == "i" and dtype is None)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", libraries("dask"))
def test_blocks_are_neither_merged_nor_cut_evenly(name: str) -> None:
    import dask.array

    x = dask.array.from_array(CUBE, chunks=(2, 3, 5))
    for wanted in ((5, 4, 3), (3, 2, 10), (2, 3, 2, 5), (1, 6, 10)):
        same(shape.Reshape.compute(x, wanted).compute(), CUBE.reshape(wanted))


# -- Shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted", "allow"),
    [
        ((60,), (60,), 0),
        ((-1,), (60,), 0),
        ((0, -1), (3, 20), 0),
        ((5, 0, -1), (5, 4, 3), 0),
        ((2, 3, -1, 2), (2, 3, 5, 2), 0),
        ((1, 60, 1), (1, 60, 1), 1),
    ],
)
def test_a_shape_keeps_sizes_and_finds_one(given: Any, wanted: Any, allow: int, lib: Library) -> None:
    same(called("Reshape", CUBE, given, lib=lib, allowzero=allow), CUBE.reshape(wanted))
    if not allow:
        same(called("Reshape", CUBE, lib=lib, version=1, shape=given), CUBE.reshape(wanted))


def test_a_shape_of_nothing(lib: Library) -> None:
    empty = CUBE[:, :0]  # (3, 0, 5)
    for given, allow, wanted in (
        ((0, 0, -1), 0, (3, 0, 0)),
        ((0, 5), 1, (0, 5)),
        ((-1, 2), 0, (0, 2)),
        ((7, 0), 1, (7, 0)),
        ((0, 0, 5), 0, (3, 0, 5)),
    ):
        assert called("Reshape", empty, given, lib=lib, allowzero=allow).shape == wanted
    same(called("Reshape", np.float32(3), (1, -1), lib=lib), [[3]], np.float32)
    same(called("Reshape", np.asarray([3], np.float32), (), lib=lib), np.float32(3))


@pytest.mark.parametrize("given", [(7, -1), (61,), (-1, -1), (-2, 30), (0, 0, 0, 0), (1 << 40, 1 << 40)])
def test_a_shape_that_does_not_fit_is_one_error(given: Any, lib: Library) -> None:
    with pytest.raises(ShapeError, match="cannot become"):
        called("Reshape", CUBE, given, lib=lib)


def test_axes_in_another_order(lib: Library) -> None:
    same(called("Transpose", CUBE, lib=lib), CUBE.T)
    for perm in itertools.permutations(range(3)):
        same(called("Transpose", CUBE, lib=lib, perm=perm), CUBE.transpose(perm))
    same(called("Transpose", np.float32(3), lib=lib), np.float32(3))


def test_axes_are_flattened(lib: Library) -> None:
    for axis in range(-3, 4):
        rows = int(np.prod(CUBE.shape[:axis]))
        same(called("Flatten", CUBE, lib=lib, axis=axis), CUBE.reshape(rows, -1))
    same(called("Flatten", np.float32(3), lib=lib, axis=0), [[3]], np.float32)
    assert called("Flatten", CUBE[:, :0], lib=lib, axis=1).shape == (3, 0)
    with pytest.raises(ShapeError, match="no axis 4"):
        called("Flatten", CUBE, lib=lib, axis=4)


def test_axes_of_size_1_come_and_go(lib: Library) -> None:
    x = CUBE[:1, :, :1]  # (1, 4, 1)
    for version in (11, 13):

        def both(name: str, x: Any, axes: Any, version: int = version) -> Any:
            if version == 13:
                return called(name, x, axes, lib=lib, version=version)
            return called(name, x, lib=lib, version=version, axes=axes)

        same(both("Squeeze", x, (0,)), x[0])
        same(both("Squeeze", x, (-1, 0)), x[0, :, 0])
        same(both("Unsqueeze", x, (0, -1)), x[None, ..., None])
        same(both("Unsqueeze", x, (4, 1)), np.expand_dims(x, (4, 1)))
    same(called("Squeeze", x, lib=lib), x[0, :, 0])
    with pytest.raises(ShapeError, match="size 1"):
        called("Squeeze", x, (1,), lib=lib)
    for axes in ((0, 0), (5,), (0, -5)):
        with pytest.raises(ShapeError, match="Unsqueeze"):
            called("Unsqueeze", x, axes, lib=lib)


@pytest.mark.numpy
def test_shapes_are_on_the_host() -> None:
    x = np.zeros((2, 3, 4))
    assert shape.Shape.compute(x).tolist() == [2, 3, 4]
    for start, end in ((1, None), (-2, None), (0, -1), (-9, 9), (2, 1)):
        assert shape.Shape.compute(x, start=start, end=end).tolist() == list(x.shape[start:end])
    assert shape.Size.compute(x) == 24
    assert shape.Size.compute(x[:0]) == 0
    assert shape.Size.compute(np.float32(1)) == 1


@pytest.mark.numpy
def test_constants() -> None:
    assert shape.Constant.compute(value_float=0.5).dtype == np.float32
    assert shape.Constant.compute(value_ints=(1, 2)).tolist() == [1, 2]
    assert shape.Constant.compute(value_strings=("a", "b")).tolist() == ["a", "b"]
    filled = shape.ConstantOfShape.compute((2, 0, 3), value=np.asarray([7], np.int8))
    assert (filled.shape, filled.dtype) == ((2, 0, 3), np.int8)
    assert shape.ConstantOfShape.compute(()).tolist() == 0
    with pytest.raises(DataError, match="would make an array"):
        shape.ConstantOfShape.compute((-1, 3))


# -- Copies ---------------------------------------------------------------------------------------------------


def test_copies(lib: Library) -> None:
    same(called("Expand", CUBE[:, :1], (2, 1, 4, 1), lib=lib), np.broadcast_to(CUBE[:, :1], (2, 3, 4, 5)))
    same(called("Expand", CUBE, (1,), lib=lib), CUBE)  # a shape that is smaller leaves the array as it is
    assert called("Expand", CUBE[:, :1], (3, 0, 5), lib=lib).shape == (3, 0, 5)
    same(called("Tile", CUBE, (2, 1, 3), lib=lib), np.tile(CUBE, (2, 1, 3)))
    assert called("Tile", CUBE, (1, 0, 1), lib=lib).shape == (3, 0, 5)
    for axis in (1, -2):
        same(called("Tile", CUBE, 3, axis, lib=lib, version=1), np.tile(CUBE, (1, 3, 1)))
    with pytest.raises(ShapeError, match="do not fit together"):
        called("Expand", CUBE, (2,), lib=lib)
    with pytest.raises(ShapeError, match="expected 3 numbers of copies"):
        called("Tile", CUBE, (2,), lib=lib)


def test_arrays_behind_each_other(lib: Library) -> None:
    for axis in (1, -2):
        same(called("Concat", CUBE, CUBE[:, :0], CUBE[:, 1:2], lib=lib, axis=axis), CUBE[:, [0, 1, 2, 3, 1]])
    same(called("Concat", CUBE, lib=lib, axis=0), CUBE)
    same(called("Concat", CUBE, CUBE, lib=lib, version=1), np.concatenate([CUBE, CUBE], axis=1))


def test_parts_of_one_size_or_of_several(lib: Library) -> None:
    for found, wanted in (
        (called("Split", CUBE, (1, 0, 4), lib=lib, axis=-1, outputs=3), np.split(CUBE, [1, 1], axis=2)),
        (called("Split", CUBE, None, lib=lib, axis=1, outputs=2), np.split(CUBE, 2, axis=1)),
        (called("Split", CUBE, None, lib=lib, axis=2, num_outputs=2, outputs=2), np.split(CUBE, [3], axis=2)),
        (called("Split", CUBE, lib=lib, version=11, split=(3, 2), axis=2, outputs=2), np.split(CUBE, [3], axis=2)),
    ):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            same(a, b)
    with pytest.raises(ShapeError, match="add up to 4"):
        called("Split", CUBE, (1, 2), lib=lib, axis=1, outputs=2)
    with pytest.raises(DataError, match="is asked for 3"):
        called("Split", CUBE, (2, 2), lib=lib, axis=1, outputs=3)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_of_channels_become_pixels_and_back(mode: str, lib: Library) -> None:
    found = called("DepthToSpace", IMAGES, lib=lib, blocksize=2, mode=mode)
    for (n, c, y, x), pixel in np.ndenumerate(found):
        block = 2 * (y % 2) + x % 2
        channel = 2 * block + c if mode == "DCR" else 4 * c + block
        assert pixel == IMAGES[n, channel, y // 2, x // 2]
    if mode == "DCR":
        same(called("SpaceToDepth", found, lib=lib, blocksize=2), IMAGES)


def test_the_middle_and_what_is_around_it(lib: Library) -> None:
    same(called("CenterCropPad", CUBE, (2, 6, 4), lib=lib), np.pad(CUBE[:2], ((0, 0), (1, 1), (0, 0)))[..., :4])
    same(called("CenterCropPad", CUBE, (5,), lib=lib, axes=(-2,)), np.pad(CUBE, ((0, 0), (0, 1), (0, 0))))
    assert called("CenterCropPad", CUBE, (0, 4, 5), lib=lib).shape == (0, 4, 5)


# -- Parts ----------------------------------------------------------------------------------------------------


def slices(seed: int) -> tuple[list[int], list[int], list[int], list[int]]:
    rng = np.random.default_rng(seed)
    axes = rng.permutation(3)[: rng.integers(1, 4)].tolist()
    ends = [-9, -6, -5, -4, -1, 0, 1, 3, 4, 5, 9, FAR, BACK, (1 << 31) - 1, -(1 << 31)]
    start, stop = (rng.choice(np.asarray(ends, object), len(axes)).tolist() for _ in range(2))
    steps = rng.choice([-9, -2, -1, 1, 2, 9, FAR, BACK + 1], len(axes)).tolist()
    return start, stop, [axis - 3 * int(rng.integers(2)) for axis in axes], steps


def cut(x: np.ndarray, starts: Any, ends: Any, axes: Any, steps: Any) -> np.ndarray:
    """Return a part as ONNX describes it: starts and ends are brought into what the axis has."""
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        first, last = (v + size if v < 0 else v for v in (start, end))
        low, high = (0, size) if step > 0 else (-1, size - 1)
        x = np.take(x, list(range(min(max(first, 0), high), min(max(last, low), high), step)), axis=axis)
    return x


@pytest.mark.parametrize("part", range(6))
def test_parts_with_any_starts_ends_and_steps(part: int, lib: Library) -> None:
    for seed in range(12 * part, 12 * part + 12):
        starts, ends, axes, steps = slices(seed)
        same(called("Slice", CUBE, starts, ends, axes, steps, lib=lib), cut(CUBE, starts, ends, axes, steps))
        same(called("Slice", CUBE, starts, ends, axes, lib=lib), cut(CUBE, starts, ends, axes, [1] * len(axes)))
        found = called("Slice", CUBE, lib=lib, version=9, starts=starts, ends=ends, axes=axes)
        same(found, cut(CUBE, starts, ends, axes, [1] * len(axes)))


def test_parts_that_are_said_badly_are_one_error(lib: Library) -> None:
    for given in (
        ((0,), (2, 3)),
        ((0,), (2,), (0,), (0,)),
        ((0,), (2,), (0, 1)),
        ((0,), (2,), (3,)),
        ((0,), (2,), (-4,)),
    ):
        with pytest.raises(AnybackError, match="Slice"):
            called("Slice", CUBE, *given, lib=lib)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_more_around_an_array_or_less(mode: str, lib: Library) -> None:
    for pads in ((0, 1, 2, 1, 0, 2), (0, 0, 0, 0, 0, 0), (-1, 2, 0, 0, -1, 3), (-1, -1, -1, -1, -1, -1)):
        less = tuple(slice(max(0, -a), n - max(0, -b)) for n, a, b in zip(CUBE.shape, pads[:3], pads[3:], strict=True))
        more = [(max(0, a), max(0, b)) for a, b in zip(pads[:3], pads[3:], strict=True)]
        how = {"constant_values": 1.5} if mode == "constant" else {}
        wanted = np.pad(CUBE[less], more, mode, **how)  # type: ignore[call-overload]
        filling = (np.float32(1.5),) if mode == "constant" else ()
        same(called("Pad", CUBE, pads, *filling, lib=lib, version=19, mode=mode), wanted)
        if mode != "wrap":
            same(called("Pad", CUBE, lib=lib, version=2, mode=mode, pads=pads, value=1.5), wanted)
            same(called("Pad", CUBE, lib=lib, version=1, mode=mode, paddings=pads, value=1.5), wanted)
    some = called("Pad", CUBE, (2, 1), None, (-1,), lib=lib, version=19, mode=mode)
    same(some, np.pad(CUBE, ((0, 0), (0, 0), (2, 1)), mode))  # type: ignore[call-overload]


def test_what_is_around_integers_and_truth_values(lib: Library) -> None:
    x = np.asarray([3, 4], np.int32)
    same(called("Pad", x, (1, 2), lib=lib), [0, 3, 4, 0, 0], np.int32)
    same(called("Pad", x, (1, 0), np.int32(-7), lib=lib), [-7, 3, 4], np.int32)
    same(called("Pad", x > 3, (1, 0), lib=lib), [False, False, True])
    same(called("Pad", x[:0], (1, 1), np.int32(9), lib=lib), [9, 9], np.int32)
    for pads in ((1,), (1, 2, 3)):
        with pytest.raises(DataError, match="Pad"):
            called("Pad", x, pads, lib=lib)


# -- Places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_what_lies_at_places_of_an_axis(axis: int, lib: Library) -> None:
    size = CUBE.shape[axis]
    for places in (
        np.asarray([[0, -1], [size - 1, -size]]),
        np.asarray(1),
        np.zeros((0, 2), int),
        np.asarray([2, 2, 2]),
    ):
        same(called("Gather", CUBE, places.astype(np.int32), lib=lib, axis=axis), np.take(CUBE, places, axis=axis))
    elements = RNG.integers(-size, size, CUBE.shape).astype(np.int32)
    elements = np.take(elements, [0, 1], axis=1 if axis == 0 else 0)
    rest = CUBE[:, :2] if axis == 0 else CUBE[:2]
    same(called("GatherElements", CUBE, elements, lib=lib, axis=axis), np.take_along_axis(rest, elements, axis))


def test_what_lies_at_places_of_several_axes(lib: Library) -> None:
    places = np.asarray([[0, -1], [2, 3], [-3, 0]], np.int32)
    same(called("GatherND", CUBE, places, lib=lib), CUBE[places[:, 0], places[:, 1]])
    same(called("GatherND", CUBE, places[:, :1], lib=lib), CUBE[places[:, 0]])
    shared = np.asarray([[1], [-4], [0]], np.int32)  # one place for each row
    same(called("GatherND", CUBE, shared, lib=lib, batch_dims=1), CUBE[np.arange(3), shared[:, 0]])
    whole = np.asarray([[0, 1, -1]], np.int32)
    same(called("GatherND", CUBE, whole, lib=lib), CUBE[[0], [1], [-1]])


def test_one_number_at_each_place(lib: Library) -> None:
    places, values = np.asarray([[0, 2], [-1, 7]], np.int32), np.asarray([-1, 5], np.float32)
    for axis in (-1, 0, 1):
        one = np.where(np.arange(3) == np.where(places < 0, places + 3, places)[..., None], values[1], values[0])
        same(called("OneHot", places, 3, values, lib=lib, axis=axis), np.moveaxis(one, -1, axis))
    assert called("OneHot", places[:0], 3, values, lib=lib).shape == (0, 2, 3)


@pytest.mark.parametrize("largest", [1, 0])
def test_the_largest_or_the_smallest_come_first(largest: int, lib: Library) -> None:
    x = np.asarray([[3, 1, 3, 2], [5, 5, 5, 5], [-1, np.inf, -np.inf, 0]], np.float32)
    order = np.argsort(-x if largest else x, axis=1, kind="stable")
    for k in (0, 1, 3, 4):
        values, places = called("TopK", x, k, lib=lib, largest=largest, outputs=2)
        same(places, order[:, :k])
        same(values, np.take_along_axis(x, order[:, :k], 1))
    turned = called("TopK", x.T.copy(), 2, lib=lib, axis=0, largest=largest, outputs=1)
    same(turned, np.take_along_axis(x, order[:, :2], 1).T)
    ints = called("TopK", x[:2].astype(np.int32), 2, lib=lib, largest=largest, outputs=1)
    same(ints, np.take_along_axis(x[:2], order[:2, :2], 1), np.int32)
    if largest:
        same(called("TopK", x, lib=lib, version=1, k=2, outputs=1), np.take_along_axis(x, order[:, :2], 1))
    for k in (5, -1):
        with pytest.raises(ShapeError, match="TopK"):
            called("TopK", x, k, lib=lib, outputs=2)


def test_sequences_are_turned_as_far_as_they_go(lib: Library) -> None:
    lengths = np.asarray([2, 4, 1], np.int32)
    wanted = CUBE.copy()
    for row, length in enumerate(lengths):
        wanted[row, :length] = wanted[row, :length][::-1]
    same(called("ReverseSequence", CUBE, lengths, lib=lib, batch_axis=0, time_axis=1), wanted)
    turned = called("ReverseSequence", CUBE.swapaxes(0, 1).copy(), lengths, lib=lib, batch_axis=1, time_axis=0)
    same(turned, wanted.swapaxes(0, 1))


def test_triangles_and_diagonals(lib: Library) -> None:
    for k in (None, 0, 1, -2, 7, -7, 1 << 40, -(1 << 40)):
        by = max(-9, min(9, k or 0))
        same(called("Trilu", CUBE, k, lib=lib, upper=1), np.triu(CUBE, by))
        same(called("Trilu", CUBE, k, lib=lib, upper=0), np.tril(CUBE, by))
    for k in (0, 2, -1):
        same(called("EyeLike", CUBE[0], lib=lib, k=k), np.eye(4, 5, k, dtype=np.float32))
        same(called("EyeLike", CUBE[0], lib=lib, k=k, dtype="int32"), np.eye(4, 5, k, dtype=np.int32))


@pytest.mark.numpy
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_numbers_by_steps(dtype: Any) -> None:
    for start, limit, step in ((0, 5, 1), (5, 0, -2), (3, 3, 1), (0, 5, -1), (-7, 8, 5)):
        found = index.Range.compute(*(np.asarray(v, dtype) for v in (start, limit, step)))
        assert found.dtype == dtype
        assert found.tolist() == list(range(start, limit, step))
    if np.dtype(dtype).kind == "f":
        tenths = index.Range.compute(*(np.asarray(v, dtype) for v in (0, 1, 0.1)))
        np.testing.assert_allclose(tenths, np.arange(10) / 10, rtol=1e-6)
    else:
        top = np.iinfo(dtype).max
        found = index.Range.compute(*(np.asarray(v, dtype) for v in (top - 2, top, 1)))
        assert found.tolist() == [top - 2, top - 1]


@pytest.mark.numpy
def test_numbers_of_half_types_by_steps_go_by_way_of_float32() -> None:
    given = [np.asarray(v, np.float16) for v in (0, 4096, 1)]
    found = index.Range.compute(*given)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.arange(4096, dtype=np.float32).astype(np.float16))


def test_places_that_depend_on_values(lib: Library) -> None:
    if not lib.id.startswith(("numpy", "torch", "jax")):
        pytest.skip("shapes that depend on values: this library computes without them, or cannot give them to the host")
    x = np.asarray([[0, 3], [5, 0]], np.float32)
    same(called("NonZero", x, lib=lib), np.stack(np.nonzero(x)))
    same(called("Compress", CUBE, np.asarray([True, False, True]), lib=lib, axis=0), CUBE[[0, 2]])
    same(called("Compress", CUBE, np.asarray([False, True]), lib=lib), CUBE.reshape(-1)[[1]])
