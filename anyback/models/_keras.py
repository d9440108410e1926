"""From layers of Keras to a network: those of a live model, or those that a Keras archive describes."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from anyback.errors import AnybackError, DataError, OperatorError, WeightsError
from anyback.layers import Sequential
from anyback.models._arrays import Arrays, shown_name
from anyback.models._keras_described import Described, Sizes, Value, is_size
from anyback.models._keras_layers import LAYERS
from anyback.models._layouts import is_training_state
from anyback.models._saved import check_shapes
from anyback.models._saved_fields import a_list, parsed_json

__all__ = ["KERAS_EXPORT", "converted", "keras_network"]

#: What makes an ONNX file of a model that is not converted.
KERAS_EXPORT = 'model.export("mine.onnx", format="onnx")'
_LONGEST_TEXT = 1 << 24
_MOST_LAYERS = 10_000
_MOST_DEPTH = 32


def keras_network(text: str, arrays: Arrays) -> Sequential:
    """Return the network that a Keras archive holds, on NumPy.

    Parameters
    ----------
    text : str
        What the archive says of the model: JSON, its member ``config.json``.
    arrays : mapping of str to numpy.ndarray
        Those of its member ``model.weights.h5``.

    Returns
    -------
    Sequential

    Raises
    ------
    OperatorError
        If layers of other classes than those in `LAYERS` are inside, options that anyback does not have, or branches.
    WeightsError
        If the text is anything but layers that fit each other and the arrays.
    """
    if len(text) > _LONGEST_TEXT:
        raise WeightsError(f"its config.json: more than {_LONGEST_TEXT:,} characters")
    try:
        return _network(parsed_json(text), arrays)
    except OperatorError as error:
        raise OperatorError(f"{error}. Go by a file: {KERAS_EXPORT}, and then load that") from None
    except AnybackError as error:
        raise WeightsError(f"its config.json: {error}") from None


def _network(model: Any, arrays: Arrays) -> Sequential:
    kept = _Kept(arrays)
    leaves = list(kept.leaves(model))
    faults = [_fault(layer) for layer in leaves if layer.kind not in LAYERS]
    if not faults:
        layers = converted(leaves, kept.input_shape, lambda layer, why: faults.append(_fault(layer, why)))
    if faults:
        said = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise OperatorError(f"anyback does not convert {said}")
    kept.check_all_taken()
    net = Sequential(*layers)
    check_shapes(net)
    return net


def _fault(layer: Described, why: object = "") -> str:
    return f"{layer.path}: {why}" if why else layer.path


class _Kept:
    """What an archive holds: arrays, each of which some layer takes, and the shape of what the first layer takes."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = {name: x for name, x in arrays.items() if not is_training_state(name)}
        self._taken: set[str] = set()
        self._shape: Any = None
        self._layers = 0

    @property
    def input_shape(self) -> Sizes:
        """The shape of the input, the batch included."""
        shape = self._shape
        if not isinstance(shape, list) or not 1 < len(shape) < 6 or not all(n is None or is_size(n) for n in shape):
            raise WeightsError("expected the shape of the input, in an InputLayer or as build_input_shape")
        return tuple(shape)

    def check_all_taken(self) -> None:
        """Raise `WeightsError` where arrays are left that no layer took."""
        if extra := [name for name in self._arrays if name not in self._taken]:
            raise WeightsError(f"model.weights.h5 holds what no layer takes: {', '.join(map(ascii, extra[:5]))[:200]}")

    def leaves(self, model: Any, stem: str = "", path: str = "", depth: int = 0) -> Iterator[Described]:
        """Yield the layers of a model in their order; `stem` is the place of its arrays, `path` that of its names."""
        if depth > _MOST_DEPTH:
            raise WeightsError(f"models within more than {_MOST_DEPTH} models")
        kind, config = _kind(model), _config(model)
        if kind not in ("Sequential", "Functional"):
            raise OperatorError(f"anyback does not convert {_class(model)}, a model that is no Sequential")
        entries = a_list(config.get("layers"), _MOST_LAYERS, "layers")
        self._layers += len(entries)
        if self._layers > _MOST_LAYERS:
            raise WeightsError(f"more than {_MOST_LAYERS:,} layers")
        if kind == "Functional" and not _is_chain(config, entries):
            raise OperatorError("anyback does not convert a model with branches, or with several inputs or outputs")
        self._see_shape(config.get("build_input_shape"))
        used: collections.Counter[str] = collections.Counter()
        for entry in entries:
            inner, options = _kind(entry), _config(entry)
            # Keras counts the layers of each class within a model; their own names do not matter.
            count, used[inner] = used[inner], used[inner] + 1
            place = f"{_snake_case(inner)}_{count}" if count else _snake_case(inner)
            name = options.get("name")
            name = path + shown_name(name if isinstance(name, str) else inner)
            if inner in ("Sequential", "Functional"):
                yield from self.leaves(entry, f"{stem}layers/{place}/", f"{name}.", depth + 1)
            elif inner == "InputLayer":
                self._see_shape(options.get("batch_shape", options.get("batch_input_shape")))
            else:
                yield self._leaf(entry, f"{name} ({_class(entry)})", f"{stem}layers/{place}/vars/")

    def _see_shape(self, shape: Any) -> None:
        """Keep the shape of the input; inner models come later."""
        if self._shape is None:
            self._shape = shape

    def _leaf(self, entry: Any, path: str, place: str) -> Described:
        config = _config(entry)

        def weights(names: Sequence[str]) -> list[np.ndarray]:
            if _is_quantized(config):
                raise OperatorError("weights that are quantized")
            wanted = [f"{place}{i}" for i in range(len(names))]
            if missing := [name for name in wanted if name not in self._arrays]:
                raise WeightsError(f"model.weights.h5 lacks {', '.join(missing)}, of {path}")
            self._taken |= set(wanted)
            return [self._arrays[name] for name in wanted]

        return Described(_kind(entry), path, config.get, weights, _activation(config.get("activation")))


def _kind(entry: Any) -> str:
    """Return the name of the class of Keras that an object describes; empty where the class is another's."""
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise WeightsError("expected each layer as an object with a class_name")
    module = entry.get("module")
    own = isinstance(module, str) and module.partition(".")[0] == "keras"
    return entry["class_name"] if own else ""


def _class(entry: Mapping[str, Any]) -> str:
    return shown_name(entry["class_name"])


def _config(entry: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(config := entry.get("config"), dict):
        raise WeightsError("expected the config of each layer as an object")
    return config


def _activation(found: Any) -> str | Described | None:
    """Return an activation by its name, as a layer, or as a text that is none of these."""
    if found is None or isinstance(found, str):
        return found
    if not isinstance(found, dict) or not isinstance(found.get("class_name"), str):
        return ascii(found)[:40]
    if _kind(found) == "":
        return f"{found['class_name']} {found.get('config')!a}"[:40]
    return Described(_kind(found), "activation", _config(found).get, lambda names: [])


def _is_quantized(config: Mapping[str, Any]) -> bool:
    policy = config.get("dtype")
    name = policy.get("class_name") if isinstance(policy, dict) else policy
    return config.get("quantization_config") is not None or name not in (None, "DTypePolicy", *_POLICIES)


#: The policies of types, by name, under which weights are numbers as they are.
_POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")


def _snake_case(name: str) -> str:
    """Return the name under which Keras keeps the arrays of a class, such as ``batch_normalization``."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name[:200])).lower()


def _is_chain(config: Mapping[str, Any], entries: Sequence[Any]) -> bool:
    """Return whether each layer of a functional model takes what the one before it gives, and nothing else."""
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    ends = (config.get("input_layers"), config.get("output_layers"))
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return False
    if not all(end in ([name, 0, 0], [[name, 0, 0]]) for end, name in zip(ends, (names[0], names[-1]), strict=True)):
        return False
    nodes = [entry.get("inbound_nodes") for entry in entries]
    return nodes[0] == [] and all(_came(node) == [name, 0, 0] for node, name in zip(nodes[1:], names[:-1], strict=True))


def _came(nodes: Any) -> Any:
    """Return where the one value comes from that a layer is called with, once; else None."""
    match nodes:
        case [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": came}}], "kwargs": {**options}}]:
            plain = options.keys() <= {"training", "mask"} and all(x in (None, False) for x in options.values())
            return came if plain else None
        case _:
            return None


def converted(leaves: Sequence[Described], shape: Sizes, refuse: Callable[[Described, object], None]) -> list[Any]:
    """Return the layers of anyback that layers of Keras become.

    Parameters
    ----------
    leaves : sequence of Described
        The layers, in their order, of classes in `LAYERS`.
    shape : tuple of (int or None)
        What the first of them takes in Keras, the batch included.
    refuse : callable
        Takes a layer, and what of it is not converted; the layers that are returned are then of no use.

    Raises
    ------
    DataError
        If the layers do not fit each other or their weights.
    """
    value = Value(shape)
    for layer, meets_dense in zip(leaves, _meet_dense(leaves), strict=True):
        row = LAYERS[layer.kind]
        value.flat_next = meets_dense
        try:
            if row.axes is not None and value.axes != row.axes:
                raise DataError(f"{layer.path}: it gets shape {value.shape}, expected {row.axes + 2} axes")
            row.make(layer, value)
        except OperatorError as error:
            refuse(layer, error)
            try:  # for what the layers behind it say
                value.shape = row.after(layer, value.shape)
            except OperatorError:
                return []
        else:
            value.shape = row.after(layer, value.shape)
    value.as_keras()
    return value.layers


#: Classes that do not care about the order of features.
_PASSING = (
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Rescaling", "Dropout", "AlphaDropout"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise"),
)


def _meet_dense(layers: Sequence[Described]) -> list[bool]:
    """Return for each layer whether the first one behind it that cares about the order of features is a Dense."""
    found, behind = list[bool](), False
    for layer in reversed(layers):
        found.append(behind)
        behind = behind if layer.kind in _PASSING else layer.kind == "Dense"
    return found[::-1]
