"""The table of types: each limit against NumPy, and ml_dtypes for bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Library

from anyback.numbers import FLOATS, INTEGERS, NUMBERS, PRECISIONS, common_float, dtype_name, largest_of


@pytest.mark.parametrize("name", FLOATS)
def test_the_limits_of_a_type_are_those_that_its_library_states(name: str) -> None:
    if name == "bfloat16":
        ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes")
        info = ml_dtypes.finfo(ml_dtypes.bfloat16)
    else:
        info = np.finfo(name)
    found = FLOATS[name]
    assert (found.bits, found.significant) == (info.bits, info.nmant + 1)
    assert found.roundoff == float(info.eps) / 2
    assert (found.smallest, found.largest) == (float(info.tiny), float(info.max))


def test_integers_are_those_of_the_standard() -> None:
    assert {np.dtype(code).name for code in np.typecodes["AllInteger"]} == INTEGERS
    assert NUMBERS - INTEGERS - set(FLOATS) == {"bool"}


def test_the_lower_precisions_keep_fewer_bits_than_float32() -> None:
    assert [name for name, p in PRECISIONS.items() if p.significant is None] == ["highest"]
    assert all(p.significant is None or p.significant < FLOATS["float32"].significant for p in PRECISIONS.values())


def test_the_common_type_holds_the_numbers_of_both(lib: Library) -> None:
    kinds = [lib.asarray([1.0], name).dtype for name in lib.dtypes if name != "bfloat16"]
    for first in kinds:
        for second in kinds:
            common = common_float(lib.xp, first, second)
            assert largest_of(common) == max(largest_of(first), largest_of(second))
            assert dtype_name(common) in (dtype_name(first), dtype_name(second))


def test_neither_half_type_holds_the_numbers_of_the_other() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes")
    half, brain = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
    assert common_float(np, half, brain) == common_float(np, brain, half) == np.float32
    assert common_float(np, brain, brain) == brain
