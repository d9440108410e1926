"""ONNX's products of matrices: MatMul, Gemm, Einsum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Library

from anyback.errors import DataError, ShapeError
from anyback.onnx._operator import find
from anyback.onnx.operators import linear

RNG = np.random.default_rng(4)


def run(name: str, version: int, *given: Any, **attributes: Any) -> Any:
    found = find("", name, version)
    assert found is not None
    return found.op.compute(*given, **attributes)


SIZES = {"a": 2, "b": 3, "c": 4, "d": 1, "i": 3, "j": 2, "k": 5}
EQUATIONS = [
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "bij,jk->kbi", "ij->ji", "ij", "ba", "ii", "ii->i", "ii->", "iij->j",
    "aaa->a", "ij->", "ij,ij->", "ij,ij->i", "ij,ij->ij", "i,j->ij", "i,i", "abc,cb->a", "ij,jk,ka->ia", "a,b,c->cba",
    "ab,ab,ab->b", "ij,kj->", "aib,bia->ab", "iji,ik->jk", "abcd,d->bc", " i j , j k -> k i ",
]  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_equations(lib: Library, equation: str) -> None:
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    operands = [RNG.normal(size=[SIZES[letter] for letter in term]) for term in terms]
    y = lib.to_numpy(run("Einsum", 12, *[lib.asarray(x) for x in operands], equation=equation))
    expected = np.einsum(equation.replace(" ", ""), *operands)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(4, 1, 2, 3), (1, 5, 3, 2)]),
        ("...ij,jk->...ik", [(4, 5, 2, 3), (3, 2)]),
        ("...ij,...jk", [(5, 2, 3), (4, 1, 3, 2)]),
        ("i...->...i", [(2, 3, 4)]),
        ("i...j->...", [(2, 3, 4, 5)]),
        ("...,...->...", [(2, 3), (3,)]),
        ("a...a->...", [(2, 3, 2)]),
        ("...", [(2, 3)]),
        ("->", [()]),
        (",->", [(), ()]),
        ("b...,c...->cb...", [(2, 1, 3), (4, 5, 1)]),
    ],
)
def test_any_number_of_axes(lib: Library, equation: str, shapes: list[tuple[int, ...]]) -> None:
    operands = [RNG.normal(size=shape) for shape in shapes]
    y = lib.to_numpy(run("Einsum", 12, *[lib.asarray(x) for x in operands], equation=equation))
    expected = np.einsum(equation, *operands)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)


def test_integers_stay_integers(lib: Library) -> None:
    x = np.arange(12).reshape(3, 4).astype(np.int32)
    given = lib.asarray(x, None)
    for name, found, expected in (
        ("MatMul", run("MatMul", 13, given, lib.xp.matrix_transpose(given)), x @ x.T),
        ("Einsum", run("Einsum", 12, given, equation="ij->i"), x.sum(axis=1)),
        ("Gemm", run("Gemm", 13, given, given, transB=1, alpha=2.0), 2 * x @ x.T),
    ):
        assert lib.to_numpy(found).dtype == np.int32, name
        np.testing.assert_array_equal(lib.to_numpy(found), expected)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shape", [None, (), (1,), (4,), (2, 1), (1, 4), (2, 4)])
def test_gemm(lib: Library, first: int, second: int, shape: tuple[int, ...] | None) -> None:
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
    c = None if shape is None else RNG.normal(size=shape)
    given = [lib.asarray(np.ascontiguousarray(a.T) if first else a), lib.asarray(b.T.copy() if second else b)]
    given += [] if c is None else [lib.asarray(c)]
    more = {"transA": first, "transB": second, "alpha": 0.5, "beta": -2.0}
    expected = 0.5 * (a @ b) - (0 if c is None else 2 * c)
    np.testing.assert_allclose(lib.to_numpy(run("Gemm", 13, *given, **more)), expected, rtol=1e-5, atol=1e-6)
    if c is not None:
        old = lib.to_numpy(run("Gemm", 6, *given, broadcast=1, **more))
        np.testing.assert_allclose(old, expected, rtol=1e-5, atol=1e-6)


def test_nothing_to_add_up(lib: Library) -> None:
    a, b = lib.asarray(np.ones((2, 0))), lib.asarray(np.ones((0, 3)))
    np.testing.assert_array_equal(lib.to_numpy(run("MatMul", 13, a, b)), np.zeros((2, 3)))
    np.testing.assert_array_equal(lib.to_numpy(run("Einsum", 12, a, b, equation="ij,jk->ki")), np.zeros((3, 2)))


@pytest.mark.jax
def test_under_jit_and_with_a_gradient() -> None:
    import jax
    import jax.numpy as jnp

    x, w = jnp.asarray(RNG.normal(size=(2, 3))), jnp.asarray(RNG.normal(size=(3, 4)))
    slope = jax.jit(jax.grad(lambda x: jnp.sum(run("Einsum", 12, x, w, equation="ij,jk->ki"))))(x)
    np.testing.assert_allclose(slope, np.broadcast_to(w.sum(axis=1), (2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("error", "equation", "shapes"),
    [
        (DataError, "ij,jk->ik", [(2, 3)]),
        (DataError, "ij->i", [(2, 3, 4)]),
        (DataError, "...ijk->i", [(2, 3)]),
        (DataError, "ij->ii", [(2, 3)]),
        (DataError, "ij->k", [(2, 3)]),
        (DataError, "i1->i", [(2, 3)]),
        (DataError, "......i->i", [(2, 3)]),
        (ShapeError, "ij,jk->ik", [(2, 3), (4, 5)]),
        (ShapeError, "ii->i", [(2, 3)]),
    ],
)
def test_equations_that_are_none(error: type[Exception], equation: str, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(error, match="Einsum"):
        run("Einsum", 12, *[np.ones(shape) for shape in shapes], equation=equation)


def test_each_version_is_another_operator() -> None:
    assert find("", "Gemm", 6).op is linear.Gemm_1
    assert find("", "Gemm", 22).op is linear.Gemm


def test_a_result_that_no_memory_holds_is_refused() -> None:
    wide = np.ones(1 << 15)
    with pytest.raises(DataError, match="Einsum would make"):
        run("Einsum", 12, wide, wide, equation="i,j->ij")


def test_gemm_takes_matrices() -> None:
    with pytest.raises(ShapeError, match="Gemm"):
        run("Gemm", 13, np.ones(3), np.ones((3, 3)))
