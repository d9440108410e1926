"""Operators are declared as the schemas of the package onnx say, but for what a table of reasons names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.defs
import onnx_apply  # noqa: F401  # which declares the operators
import pytest
from onnx import helper

from anyback.onnx._operator import HINTS, OPERATORS, Operator, Parameter, find
from anyback.onnx._tensors import type_name

OPTION = onnx.defs.OpSchema.FormalParameterOption
#: The schemas by domain and name, each by its version.
SCHEMAS: dict[tuple[str, str], dict[int, Any]] = {}
for found in onnx.defs.get_all_schemas_with_history():
    if not found.deprecated or found.inputs:  # one without inputs says that the operator is gone; files use the others
        SCHEMAS.setdefault((found.domain, found.name), {})[found.since_version] = found

DECLARED = [(key, since) for key, versions in sorted(OPERATORS.items()) for since in sorted(versions)]

#: Operators whose inputs have other names than in the schema, and why.
OTHER_NAMES = {("", "Pow", 1): "declared with the other operators that place their second operand at an axis: A and B"}

#: Attributes with another default than in the schema, and why.
OTHER_DEFAULTS = {
    ("", "Clip", "min"): "an absent bound is none, not the lowest float32: infinity stays",
    ("", "Clip", "max"): "an absent bound is none, not the largest float32: infinity stays",
    ("", "Concat", "axis"): "the text of version 1 says 1",
    ("", "Constant", "value"): "it must be there in old versions; later it may be another of several attributes",
    ("", "Dropout", "ratio"): "nothing is dropped at inference, whatever the share",
    ("", "GRU", "activations"): "the text names those of an absent one",
    ("", "GRU", "direction"): "old versions misspell it",
    ("", "LSTM", "activations"): "the text names those of an absent one",
    ("", "Reshape", "shape"): "optional in version 1, but there is no shape without it",
    ("", "Split", "axis"): "the text of version 1 names none; the one of later versions",
    ("", "StringNormalizer", "locale"): "none: what the text says of an absent one",
    ("", "StringSplit", "delimiter"): "the text says that an absent one is an empty one",
    ("", "StringSplit", "maxsplit"): "a negative number is no limit, as an absent one",
}


def covered(domain: str, name: str, since: int) -> list[Any]:
    """Return the schemas that a declared operator stands for, by version."""
    versions = OPERATORS[domain, name]
    end = min((other for other in versions if other > since), default=1 << 30)
    return [schema for v, schema in sorted(SCHEMAS[domain, name].items()) if since <= v < end]


def accepted(operator: Operator, name: str) -> Parameter | None:
    """Return the parameter that an attribute is bound to."""
    return operator.attributes.get(name) or next((p for p in operator.inputs if p.name == name), None)


def declared_inputs(operator: Operator) -> list[str]:
    return [p.name for p in operator.inputs] + ([operator.variadic.name] if operator.variadic else [])


def named(key: Any) -> str:
    return ".".join(part for part in key if part) if isinstance(key, tuple) else str(key)


def test_there_are_operators_and_schemas_to_compare() -> None:
    assert len(DECLARED) > 190
    assert len(SCHEMAS) > 200
    assert not [key for key in OPERATORS if key not in SCHEMAS], "operators that ONNX does not have"


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_a_first_version_is_one_of_the_schemas(key: tuple[str, str], since: int) -> None:
    assert since == 1 or since in SCHEMAS[key]  # 1 stands for the first one, whichever that is
    assert covered(*key, since), "no schema: another version of the operator takes its place everywhere"


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_inputs_have_the_names_and_the_order_of_the_schema(key: tuple[str, str], since: int) -> None:
    operator, schemas = OPERATORS[key][since], covered(*key, since)
    newest = schemas[-1]
    wanted, mine = [p.name for p in newest.inputs], declared_inputs(operator)
    other = mine[: len(wanted)] != wanted
    assert other == ((*key, since) in OTHER_NAMES), f"{mine} for {wanted}"
    old_attributes = {name for schema in schemas for name in schema.attributes}
    assert set(mine[len(wanted) :]) <= old_attributes, "a parameter beyond the inputs that was never an attribute"
    last = newest.inputs[-1].option if newest.inputs else OPTION.Single
    assert (operator.variadic is not None) == (last == OPTION.Variadic)
    for parameter, formal in zip(operator.inputs, newest.inputs, strict=False):
        assert parameter.required == (formal.option == OPTION.Single), parameter.name


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_no_version_has_more_inputs_than_the_operator_takes(key: tuple[str, str], since: int) -> None:
    operator = OPERATORS[key][since]
    for schema in covered(*key, since):
        assert operator.variadic is not None or len(schema.inputs) <= len(operator.inputs)
        assert len(schema.inputs) >= sum(p.required for p in operator.inputs if p.name not in schema.attributes)


def default_of(attribute: Any) -> Any:
    """Return the default of an attribute; `Parameter.empty` where it must be given, None where it may be absent."""
    if attribute.required:
        return "must be given"
    if not attribute.default_value.type:
        return None
    value = helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return tuple(part.decode() if isinstance(part, bytes) else part for part in value)
    return value.decode() if isinstance(value, bytes) else value


def same_default(parameter: Parameter, wanted: Any) -> bool:
    mine = "must be given" if parameter.required else parameter.default
    if parameter.kind == "type" and isinstance(wanted, int):
        wanted = type_name(wanted) if wanted else None
    if isinstance(wanted, float) and isinstance(mine, (int, float)):
        return bool(np.float32(wanted) == np.float32(mine))
    return bool(mine == wanted)


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_attributes_have_the_defaults_of_the_schema(key: tuple[str, str], since: int) -> None:
    operator = OPERATORS[key][since]
    for schema in covered(*key, since):
        for name, attribute in schema.attributes.items():
            parameter = accepted(operator, name)
            if name in HINTS:
                assert parameter is None, "one that changes no result, and is left out for all operators"
            elif (*key, name) not in OTHER_DEFAULTS:
                assert parameter is not None, name
                assert same_default(parameter, default_of(attribute)), (schema.since_version, name)


def test_exceptions_are_exceptions() -> None:
    for domain, name, attribute in OTHER_DEFAULTS:
        differ = [
            not same_default(parameter, default_of(schema.attributes[attribute]))
            for since, operator in OPERATORS[domain, name].items()
            for schema in covered(domain, name, since)
            if attribute in schema.attributes and (parameter := accepted(operator, attribute)) is not None
        ]
        assert any(differ), f"{name}.{attribute} is no exception any more"


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_attributes_are_none_that_onnx_does_not_have(key: tuple[str, str], since: int) -> None:
    known = {name for schema in covered(*key, since) for name in schema.attributes}
    assert set(OPERATORS[key][since].attributes) <= known


@pytest.mark.parametrize(("key", "since"), DECLARED, ids=named)
def test_an_operator_of_several_outputs_is_told_how_many(key: tuple[str, str], since: int) -> None:
    assert OPERATORS[key][since].several == any(schema.max_output > 1 for schema in covered(*key, since))


@pytest.mark.parametrize("key", sorted(OPERATORS), ids=named)
def test_every_version_of_a_schema_finds_a_function_that_takes_its_attributes(key: tuple[str, str]) -> None:
    for version, schema in SCHEMAS[key].items():
        operator = find(*key, version)
        assert operator is not None, f"version {version}"
        unknown = [name for name in schema.attributes if name not in HINTS and accepted(operator, name) is None]
        assert not unknown, f"version {version}"
