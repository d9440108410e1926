"""Operators on strings, and n-grams, against plain Python."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied, text

from anyback.errors import DataError, ShapeError
from anyback.onnx._regex import parsed


def strings(name: str, *inputs: Any, **attributes: Any) -> Any:
    return applied(name, *inputs, domain="", version=20, **attributes)


def test_concat_broadcasts_and_refuses_what_would_not_fit() -> None:
    y = strings("StringConcat", text("a", "b", shape=(2, 1)), text("x", "yy"))
    assert y.tolist() == [["ax", "ayy"], ["bx", "byy"]]
    assert strings("StringConcat", text("a", shape=()), text("b", shape=())).shape == ()
    with pytest.raises(ShapeError, match="broadcast"):
        strings("StringConcat", text("a", "b"), text("a", "b", "c"))
    with pytest.raises(DataError, match="characters"):
        strings("StringConcat", np.broadcast_to(text("a" * 4096), (1 << 17,)), text("b"))


def test_split() -> None:
    y, counts = strings("StringSplit", text("a,b,,c", "x", shape=(2, 1)), delimiter=",", maxsplit=2, outputs=2)
    assert y.tolist() == [[["a", "b", ",c"]], [["x", "", ""]]]
    assert counts.tolist() == [[3], [1]]
    assert strings("StringSplit", text("  a  b ")).tolist() == [["a", "b"]]
    assert strings("StringSplit", text(shape=(0, 2))).shape == (0, 2, 0)
    with pytest.raises(DataError, match="StringSplit"):  # one long row, filled up in all others
        strings("StringSplit", text("," * (1 << 15), *[""] * (1 << 14)), delimiter=",")


@pytest.mark.parametrize("sensitive", [0, 1])
@pytest.mark.parametrize("action", ["NONE", "LOWER", "UPPER"])
def test_normalizer(action: str, sensitive: int) -> None:
    words = ["Monday", "monday", "Ärger", "x"]
    given = {"case_change_action": action, "is_case_sensitive": sensitive, "stopwords": ["monday", "X"]}
    kept = ["Monday", "Ärger", "x"] if sensitive else ["Ärger"]
    expected = [{"NONE": str, "LOWER": str.lower, "UPPER": str.upper}[action](w) for w in kept]
    assert strings("StringNormalizer", text(*words), **given).tolist() == expected
    assert strings("StringNormalizer", text(*words, shape=(1, 4)), **given).tolist() == [expected]
    assert strings("StringNormalizer", text("monday"), **given).tolist() == [""]


# -- Regular expressions ------------------------------------------------------------------------------

PATTERNS = [
    "", "a", "abc", "a|bc|", "a*", "a+b?", "(ab)*c", "(a|b)*abb", "a{2,3}", "a{,2}", "a{2,}b", "[ab]+", "[^a]*",
    "[a-c]x?",
    r"\d+", r"\w+\s\w+", r"\W", ".", "a.c", "(?:a|b)c", "(?P<x>a)b", "(?i)aB", "(?i:a)b", "(?s).", "^a$", r"\ba\b.*",
    r"a\Bb", "[]a]", r"[\]\-a]", "[a-]", r"\.", r"\x61", "(a*)*", "(a|a)*", "((a?)+)+b", "a**"[:2], "x*y*z*", "()",
    "(|a)+",
    r"[\w.%+-]+@[\w.-]+\.[a-z]{2,4}", "a??b", "a*?b", r"\Aab\z"[:3] + "b", "ä+",
]  # fmt: skip
TEXTS = [
    "", *map("".join, itertools.chain.from_iterable(itertools.product("abc", repeat=n) for n in range(1, 4))),
    "aaaa", "aB", "AB", "Ab", "\n", "a\n", "a\nc", "12", "x y", "a b", "-", "]", ".", "xyz", "xxyyzz", "abab", "ababc",
    "babb", "a@b.cd", "foo.bar@x-y.org", "ä", "ää", "_", "[", "a{,2}", "A", "²", "ax", "bx",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_what_python_matches(pattern: str) -> None:
    python = re.compile(f"(?a:{pattern})" if "(?i)" not in pattern and "(?s)" not in pattern else pattern, re.ASCII)
    expected = [python.fullmatch(value) is not None for value in TEXTS]
    if pattern.endswith("$"):  # of Python, before a last newline too
        expected = [found and not value.endswith("\n") for found, value in zip(expected, TEXTS, strict=True)]
    if pattern == "a{,2}":  # RE2 has it stand for itself
        expected = [value == pattern for value in TEXTS]
    assert parsed(pattern).full_matches(TEXTS) == expected


def test_random_patterns_match_what_python_matches() -> None:
    rng = np.random.default_rng(0)

    def pattern(depth: int) -> str:
        if depth == 0:
            return str(rng.choice(["a", "b", "[ab]", ".", "c"]))
        kind = rng.integers(4)
        if kind == 0:
            return pattern(depth - 1) + pattern(depth - 1)
        if kind == 1:
            return f"(?:{pattern(depth - 1)}|{pattern(depth - 1)})"
        return f"(?:{pattern(depth - 1)})" + str(rng.choice(["*", "+", "?", "{0,2}", "{2}", "{1,}"]))

    texts = ["".join(rng.choice(list("abc"), rng.integers(8))) for _ in range(40)]
    some = 0
    for _ in range(200):
        made = pattern(3)
        expected = [re.fullmatch(made, value) is not None for value in texts]
        assert parsed(made).full_matches(texts) == expected, made
        some += sum(expected)
    assert some > 200


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*a){20}b", "(a?){40}a{40}b", "((a{1,20}){1,20}){1,5}b"],
)
def test_patterns_that_make_others_wait_for_ever_are_answered(pattern: str) -> None:
    assert parsed(pattern).full_matches(["a" * 200 + "c"]) == [False]


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "[a", "[z-a]", "*a", "a**", "a{3,1}", "a{2000}", r"(a)\1", "(?=a)", "(?<=a)b", "(?P=x)",
        r"\p{L}",
        "[[:alpha:]]", "(?m)^a", "(?x) a", "a\\", "(" * 500, "a" * 6000, "((((a{999}){999}){999}){999})",
        "((((){999}){999}){999})", r"\Z",
    ],
)  # fmt: skip
def test_what_is_no_pattern_or_too_large_a_one_is_refused(pattern: str) -> None:
    with pytest.raises(DataError, match="RegexFullMatch"):
        parsed(pattern)


def test_a_match_that_takes_too_many_steps_is_refused() -> None:
    slow = parsed(".*a.{400}")
    values = ["".join(np.random.default_rng(0).choice(list("ab"), 100_000))]
    with pytest.raises(DataError, match="states"):
        slow.full_matches(values)


# -- N-grams ------------------------------------------------------------------------------------------


def counted(rows: Any, grams: list[tuple[Any, ...]], columns: list[int], lengths: tuple[int, int], skips: int) -> Any:
    y = np.zeros((len(rows), max(columns) + 1))
    for i, row in enumerate(rows):
        seen: Counter[tuple[Any, ...]] = Counter()
        for distance, n in itertools.product(range(1, skips + 2), range(lengths[0], lengths[1] + 1)):
            if n == 1 and distance > 1:
                continue
            for start in range(len(row) - distance * (n - 1)):
                seen[tuple(row[start + distance * k] for k in range(n))] += 1
        for gram, column in zip(grams, columns, strict=True):
            y[i, column] += seen[gram]
    return y


@pytest.mark.parametrize("lengths", [(1, 1), (1, 3), (2, 2), (2, 3)])
@pytest.mark.parametrize("skips", [0, 2])
def test_counts_of_n_grams(lib: Library, lengths: tuple[int, int], skips: int) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 5, (4, 12))
    grams: list[tuple[int, ...]] = [(1,), (3,), (1, 2), (2, 2), (3, 1), (1, 2, 3), (2, 2, 2)]
    counts = [0, 2, 8]
    columns = [6, 5, 4, 3, 2, 1, 0]
    given = {"ngram_counts": counts, "ngram_indexes": columns, "pool_int64s": [item for gram in grams for item in gram]}
    given |= {"min_gram_length": lengths[0], "max_gram_length": lengths[1], "max_skip_count": skips, "domain": ""}
    kept = [(g, c) for g, c in zip(grams, columns, strict=True) if lengths[0] <= len(g) <= lengths[1]]
    expected = counted(rows, [g for g, _ in kept], [c for _, c in kept], lengths, skips)
    expected = np.pad(expected, ((0, 0), (0, 7 - expected.shape[1])))
    y = applied("TfIdfVectorizer", rows, lib=lib, version=9, mode="TF", **given)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(
        applied("TfIdfVectorizer", rows[0], lib=lib, version=9, mode="TF", **given), expected[0]
    )
    weights = np.arange(1.0, 8.0)
    scaled = {"TFIDF": expected, "IDF": expected > 0}
    for mode, whole in scaled.items():
        y = applied("TfIdfVectorizer", rows, lib=lib, version=9, mode=mode, weights=weights.tolist(), **given)
        np.testing.assert_array_equal(y, whole * weights[np.argsort(columns)])


def test_n_grams_of_strings_and_rows_that_are_too_short() -> None:
    given = {"ngram_counts": [0, 0], "ngram_indexes": [0, 1], "pool_strings": ["a", "b", "b", "a"], "mode": "TF"}
    given |= {"min_gram_length": 2, "max_gram_length": 2, "max_skip_count": 0, "domain": "", "version": 9}
    assert applied("TfIdfVectorizer", text("a", "b", "a", "b", "?"), **given).tolist() == [2, 1]
    assert applied("TfIdfVectorizer", text("a"), **given).tolist() == [0, 0]
    assert applied("TfIdfVectorizer", text(shape=(2, 0)), **given).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="strings"):
        applied("TfIdfVectorizer", np.asarray([1, 2]), **given)
