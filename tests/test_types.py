"""Types that editors know: each list of names is that of its table, and public functions take it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

import anyback as ab
from anyback import activations, backends
from anyback.activations import ACTIVATIONS, Activation, ActivationName
from anyback.backends import ROWS, Backend, BackendLike, BackendName
from anyback.backends._table import OWN_ROWS
from anyback.datasets import Split
from anyback.network import Network
from anyback.numbers import PRECISIONS, PrecisionName
from anyback.ops import OPS, elementwise, softmax

#: Names in a type -> the table that they come from. A program may add rows to that of backends.
TABLES: list[tuple[Any, Iterable[str]]] = [
    (ActivationName, ACTIVATIONS),
    (ActivationName, [name for family in (elementwise, softmax) for name in family.__all__ if name in OPS]),
    (PrecisionName, PRECISIONS),
    (BackendName, [*(row.name for row in ROWS.values() if row in OWN_ROWS), "auto"]),
]


@pytest.mark.parametrize(("names", "table"), TABLES)
def test_the_names_in_a_type_are_those_of_its_table(names: Any, table: Iterable[str]) -> None:
    assert sorted(get_args(names)) == sorted(table)


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_every_name_of_an_activation_is_one(name: str) -> None:
    assert activations.get(name) is OPS[name] is getattr(activations, name)


@pytest.mark.parametrize("split", get_args(Split))
def test_every_split_can_be_loaded(split: Split) -> None:
    assert ab.datasets.digits(split).split == split


def test_a_split_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ab.DataError, match="unknown split 'dev'; known: " + ", ".join(get_args(Split))):
        ab.datasets.digits("dev")  # type: ignore[arg-type]


#: How a parameter is called in public functions -> the type that it has there, but for None.
PARAMETERS = {
    "hidden": Activation,
    "output": Activation,
    "precision": PrecisionName,
    "split": Split,
    "backend": BackendLike,
    "spec": BackendLike,
}


def parameters() -> list[tuple[str, str, Any]]:
    """Return the parameters of public functions that have such a name, with the type of each."""
    functions = {name: getattr(ab, name) for name in ab.__all__ if inspect.isfunction(getattr(ab, name))}
    functions |= {f"datasets.{name}": getattr(ab.datasets, name) for name in ("digits", "mnist")}
    functions |= {"backends.resolve": backends.resolve, "Network.to": Network.to}
    return [
        (function, parameter, hint)
        for function, value in functions.items()
        for parameter, hint in get_type_hints(inspect.unwrap(value)).items()
        if parameter in PARAMETERS
    ]


@pytest.mark.parametrize(("function", "parameter", "hint"), parameters())
def test_public_functions_say_which_names_they_take(function: str, parameter: str, hint: Any) -> None:
    wanted = PARAMETERS[parameter]
    assert hint in (wanted, wanted | None), function


def test_there_are_such_functions() -> None:
    found = parameters()
    assert {parameter for _, parameter, _ in found} == set(PARAMETERS)
    assert {"predict", "evaluate", "certify", "parity"} <= {
        function for function, name, _ in found if name == "precision"
    }


def test_a_backend_may_have_any_name() -> None:
    assert {str, Backend} <= set(get_args(BackendLike))
    assert get_origin(BackendLike) in (Union, type(int | str))
