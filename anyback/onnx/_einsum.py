"""Sums of products by an equation: operands are multiplied pair by pair, each pair as one product of matrices."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._types import check_size

__all__ = ["einsum"]

#: The letters of an operand's axes; the axes of an ellipsis are numbered from the last one.
Letters = tuple[str | int, ...]


def einsum(equation: str, *operands: Array) -> Array:
    """Return the sum of products of operands that an equation names.

    Parameters
    ----------
    equation : str
        Letters for the axes of each operand, with commas between the operands; then, where not all letters that stand
        once are wanted in alphabetical order, ``->`` and those of the result. ``...`` is any number of axes.
    *operands : array
        Of one type. Axes of one letter have one size, or the size 1.

    Returns
    -------
    array
        Of that type.

    Raises
    ------
    DataError
        If the equation is none, or is for other operands.
    ShapeError
        If axes of one letter have different sizes.
    """
    terms, result = _parsed(equation, tuple(x.ndim for x in operands))
    sizes: dict[str | int, int] = {}
    for x, letters in zip(operands, terms, strict=True):
        for letter, size in zip(letters, x.shape, strict=True):
            if sizes.setdefault(letter, size) != size and size != 1:
                if sizes[letter] != 1:
                    raise ShapeError(f"Einsum {equation[:80]!r}: axis {letter} has sizes {sizes[letter]} and {size}")
                sizes[letter] = size
    left = [_plain(x, letters, sizes) for x, letters in zip(operands, terms, strict=True)]
    y, letters = left[0]
    for place, (x, more) in enumerate(left[1:], start=1):
        later = set(result).union(*(after for _, after in left[place + 1 :]))
        y, letters = _product(y, letters, x, more, later)
    y, letters = _summed(y, letters, set(result))
    xp = array_namespace(y)
    order = tuple(letters.index(letter) for letter in result if letter in letters)
    y = y if order == tuple(range(y.ndim)) else xp.permute_dims(y, order)
    shape = tuple(sizes[letter] for letter in result)
    return y if tuple(y.shape) == shape else xp.reshape(y, shape)  # axes of size 1 that were left out


@functools.lru_cache(maxsize=256)
def _parsed(equation: str, ranks: tuple[int, ...]) -> tuple[tuple[Letters, ...], Letters]:
    """Return the letters of each operand and of the result."""
    before, arrow, after = equation.replace(" ", "").partition("->")
    words = before.split(",")
    if len(words) != len(ranks):
        raise DataError(f"Einsum {equation[:80]!r} is for {len(words)} operands, found {len(ranks)}")
    terms = []
    for word, rank in zip(words, ranks, strict=True):
        count = len(word.replace("...", ""))
        if count > rank or ("..." not in word and count != rank):
            raise DataError(f"Einsum {equation[:80]!r}: {word!r} is for another number of axes than {rank}")
        terms.append(_letters(word, rank - count, equation))
    most = max((-letter for term in terms for letter in term if isinstance(letter, int)), default=0)
    if arrow:
        result = _letters(after, most, equation)
    else:
        times = Counter(letter for term in terms for letter in term)
        once = sorted(letter for letter, n in times.items() if isinstance(letter, str) and n == 1)
        result = (*range(-most, 0), *once)
    known = {letter for term in terms for letter in term}
    if len(set(result)) != len(result) or not set(result) <= known:
        raise DataError(f"Einsum {equation[:80]!r}: the result has an axis twice, or one that no operand has")
    return tuple(terms), result


def _letters(word: str, more: int, equation: str) -> Letters:
    first, dots, last = word.partition("...")
    if not (first + last).isascii() or not all(letter.isalpha() for letter in first + last):
        raise DataError(f"Einsum {equation[:80]!r} has an axis that is no letter")
    return (*first, *(range(-more, 0) if dots else ()), *last)


def _plain(x: Array, letters: Letters, sizes: Mapping[str | int, int]) -> tuple[Array, Letters]:
    """Return an operand with each letter once, and without axes that are 1 where others have more."""
    xp = array_namespace(x)
    kept = [(letter, n) for letter, n in zip(letters, x.shape, strict=True) if n == sizes[letter]]
    if len(kept) < len(letters):
        x, letters = xp.reshape(x, tuple(n for _, n in kept)), tuple(letter for letter, _ in kept)
    while len(set(letters)) < len(letters):
        letter = next(one for one, n in Counter(letters).items() if n > 1)
        first = letters.index(letter)
        second = letters.index(letter, first + 1)
        others = [axis for axis in range(x.ndim) if axis not in (first, second)]
        n = x.shape[first]
        x = xp.permute_dims(x, (*others, first, second))
        x = xp.reshape(x, (*x.shape[:-2], n * n))[..., :: n + 1]  # the diagonal
        letters = (*(letters[axis] for axis in others), letter)
    return x, letters


def _summed(x: Array, letters: Letters, wanted: set[str | int]) -> tuple[Array, Letters]:
    """Return an operand summed along the axes that neither the result nor another operand has."""
    gone = tuple(axis for axis, letter in enumerate(letters) if letter not in wanted)
    if not gone:
        return x, letters
    y = array_namespace(x).sum(x, axis=gone, dtype=x.dtype)
    return y, tuple(letter for letter in letters if letter in wanted)


def _product(x: Array, of_x: Letters, y: Array, of_y: Letters, later: set[str | int]) -> tuple[Array, Letters]:
    """Return the product of two operands, summed along the axes that both have and `later` does not."""
    xp = array_namespace(x, y)
    x, of_x = _summed(x, of_x, later.union(of_y))
    y, of_y = _summed(y, of_y, later.union(of_x))
    both = [letter for letter in of_x if letter in of_y]
    stack, inner = [one for one in both if one in later], [one for one in both if one not in later]
    rows, columns = [one for one in of_x if one not in both], [one for one in of_y if one not in both]
    letters, shape = (*stack, *rows, *columns), dict(zip((*of_x, *of_y), (*x.shape, *y.shape), strict=True))
    check_size([shape[letter] for letter in letters], "Einsum")
    if not inner:  # no sum: by broadcasting
        return _spread(x, of_x, letters) * _spread(y, of_y, letters), letters
    a = _ordered(x, of_x, (stack, rows, inner))
    b = _ordered(y, of_y, (stack, inner, columns))
    return xp.reshape(xp.matmul(a, b), tuple(shape[letter] for letter in letters)), letters


def _spread(x: Array, of_x: Letters, letters: Letters) -> Array:
    """Return an operand with axes of size 1 for the letters that it lacks."""
    xp = array_namespace(x)
    order = tuple(of_x.index(letter) for letter in letters if letter in of_x)
    x = x if order == tuple(range(x.ndim)) else xp.permute_dims(x, order)
    found = iter(x.shape)
    return xp.reshape(x, tuple(next(found) if letter in of_x else 1 for letter in letters))


def _ordered(x: Array, of_x: Letters, groups: Sequence[Sequence[str | int]]) -> Array:
    """Return an operand as a stack of matrices: the axes of the first group, then one axis for each other group."""
    xp = array_namespace(x)
    order = tuple(of_x.index(letter) for group in groups for letter in group)
    x = x if order == tuple(range(x.ndim)) else xp.permute_dims(x, order)
    depth, shape = len(groups[0]), tuple(x.shape)
    middle = depth + len(groups[1])
    wanted = (*shape[:depth], math.prod(shape[depth:middle]), math.prod(shape[middle:]))
    return x if shape == wanted else xp.reshape(x, wanted)
