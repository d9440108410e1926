"""A network: a graph of calls of ops, and everything that any network can be asked."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import array_api_compat

from anyback import backends, plan
from anyback._show import Table
from anyback._typing import Array, DType, Namespace
from anyback.backends import Backend, backend_of, dtype_of
from anyback.errors import AnybackError, BackendError, DataError, ShapeError
from anyback.ops import Op
from anyback.plan import Rows, Shape, Step
from anyback.tasks import Task, task_of

__all__ = ["Builder", "Call", "Network", "Sample", "Summary", "arrays_in", "check_outputs", "checked_network", "is_network", "map_arrays"]

#: The shape of a sample; None stands for a size that may be any.
Sample = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an op.

    Parameters
    ----------
    op : Op
        What is computed.
    arguments : tuple of (int or None)
        Numbers of values, in the op's own order: the inputs of the network, then its arrays, then the results of
        earlier calls. None is an absent argument.
    results : int
        How many values the call gives.
    attributes : mapping of str to value
        The op's other arguments, by name.
    bodies : tuple of Network
        Networks that the op runs.
    name : str
        What the call is called in tables, where that is not the op's name.
    """

    op: Op
    arguments: tuple[int | None, ...]
    results: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bodies: tuple[Network, ...] = ()
    name: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A network as a graph.

    Parameters
    ----------
    arrays : tuple of array
        The arrays that calls use, of one library and device. An array that is used twice is here once.
    calls : tuple of Call
        In an order in which they can run.
    inputs : tuple of tuple of tuple of (int or None)
        For each input, the shapes that one sample may have, the usual one last; empty where any shape will do.
    outputs : tuple of int
        Numbers of the values that the network returns.

    Raises
    ------
    BackendError
        If the arrays belong to different libraries.
    """

    arrays: tuple[Array, ...]
    calls: tuple[Call, ...]
    inputs: tuple[tuple[Sample, ...], ...] = ((),)
    outputs: tuple[int, ...] = ()
    #: The calls as steps with the kernels of the arrays' library, derived from the fields.
    steps: tuple[Step, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        backends.array_namespace(*self.arrays)
        backend = backend_of(self.arrays[0]) if self.arrays else None
        steps = [Step(c.op.bound(backend), None, c.arguments, dict(c.attributes), results=c.results) for c in self.calls]
        object.__setattr__(self, "steps", tuple(steps))

    def __getstate__(self) -> dict[str, Any]:
        # What is derived is derived again: kernels do not travel to other processes.
        return {name: value for name, value in vars(self).items() if name != "steps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    # -- The arrays inside ---------------------------------------------------------------------------

    def with_arrays(self, arrays: Iterable[Array]) -> Network:
        """Return the same network with other arrays, in the order of `arrays`."""
        return Network(tuple(arrays), self.calls, self.inputs, self.outputs)

    def map(self, function: Callable[[Array], Array]) -> Network:
        """Return the same network with `function` applied to each array inside.

        Parameters
        ----------
        function : callable
            Takes an array and returns one of the same shape.

        Returns
        -------
        Network
            Of the same class.
        """
        return self.with_arrays([function(x) for x in self.arrays])

    @property
    def xp(self) -> Namespace | None:
        """The namespace of the network's arrays; None where it has none."""
        return backends.array_namespace(*self.arrays)

    @property
    def backend(self) -> Backend | None:
        """The backend and the device of the network's arrays; None where it has none."""
        return backend_of(self.arrays[0], device=True) if self.arrays else None

    @property
    def dtype(self) -> DType | None:
        """The dtype of the network's first array, in its library's words; None where it has none."""
        return self.arrays[0].dtype if self.arrays else None

    def to(self, backend: str | Backend | None = None, *, dtype: str | None = None) -> Network:
        """Return the same network with its arrays elsewhere.

        Parameters
        ----------
        backend : str, Backend or None
            Where to, such as ``"cupy"``, ``"torch:cuda:1"`` or ``"jax:cpu"``; None is where it is.
        dtype : str or None
            Another floating-point type for all its arrays, such as ``"float64"``; None keeps theirs.

        Returns
        -------
        Network
            Of the same class.

        Raises
        ------
        BackendError
            If the backend cannot be used.

        Examples
        --------
        >>> import anyback as ab
        >>> net = ab.load_model("digits-mlp", backend="numpy")
        >>> net.to(dtype="float64").dtype
        dtype('float64')
        """
        place = (self.backend or backends.get_backend()) if backend is None else backends.resolve(backend)
        return self.map(lambda x: backends.asarray(x, dtype=dtype if backends.is_float(x) else None, backend=place))

    # -- The graph -----------------------------------------------------------------------------------

    @property
    def first_result(self) -> int:
        """The number of the first value that a call gives."""
        return len(self.inputs) + len(self.arrays)

    def results(self) -> Iterator[tuple[int, Call]]:
        """Yield each call, behind the number of the first value that it gives."""
        number = self.first_result
        for call in self.calls:
            yield number, call
            number += call.results

    def array_of(self, number: int | None) -> Array | None:
        """Return the array that a number stands for; None where it stands for another value or for nothing."""
        place = -1 if number is None else number - len(self.inputs)
        return self.arrays[place] if 0 <= place < len(self.arrays) else None

    def last(self) -> Call | None:
        """Return the call that gives the first output; None where the input is passed on."""
        return next((call for number, call in self.results() if number == self.outputs[0]), None)

    def select(self, *values: int) -> Network:
        """Return the network that returns these values, without the calls and arrays that they do not need."""
        needed, kept = set(values), []
        for number, call in reversed(list(self.results())):
            if needed & set(range(number, number + call.results)):
                kept.append((number, call))
                needed.update(i for i in call.arguments if i is not None)
        into, new = Builder(len(self.inputs)), {i: i for i in range(len(self.inputs))}
        for number, call in reversed(kept):
            for i in call.arguments:
                if (x := self.array_of(i)) is not None:
                    new[i] = into.array(x)
            arguments = [None if i is None else new[i] for i in call.arguments]
            found = into.call(call.op, *arguments, name=call.name, results=call.results, **call.attributes)
            new |= {number + k: found + k for k in range(call.results)}
        outputs = [new[i] if (x := self.array_of(i)) is None else into.array(x) for i in values]
        return Network(*into.fields([i or 0 for i in outputs], self.inputs))

    @property
    def rows(self) -> Rows:
        """The least that is known of how a row of the output depends on the rows of the input."""
        return max((call.op.rows for call in self.calls), default=Rows.ALONE)

    def shapes(self, *inputs: Shape | None) -> list[Any]:
        """Return the whole shapes of all values, by number; None where one is not known.

        Parameters
        ----------
        *inputs : tuple of int or None
            The whole shape of each input, the batch included.

        Raises
        ------
        ShapeError
            If an op does not take the shape that it is given.
        """
        found: list[Any] = [*inputs, *(tuple(x.shape) for x in self.arrays)]
        for call in self.calls:
            given = [None if i is None else found[i] for i in call.arguments]
            if given[0] is None and (sample := _taken(call.op, given, call.attributes)) and inputs[0] is not None:
                given[0] = (inputs[0][0], *sample)
            shape = call.op.shape(*given, **call.attributes)
            found.extend([shape] if call.results == 1 else shape or [None] * call.results)
        return found

    @property
    def sample_shapes(self) -> tuple[Sample, ...]:
        """The shapes that one sample of the first input may have; empty where any shape will do."""
        return self.inputs[0]

    @property
    def usual_sample(self) -> Shape | None:
        """The usual shape of one sample of the first input; None where it is not known."""
        return _known(self.inputs[0][-1]) if self.inputs[0] else None

    def output_shape(self) -> Shape | None:
        """Return the shape of the first output for one sample; None where it is not known."""
        sample = self.usual_sample
        found = self.shapes(None if sample is None else (1, *sample))[self.outputs[0]]
        return None if found is None else found[1:]

    @property
    def width(self) -> int | None:
        """The number of outputs for one sample; None where it is not known."""
        shape = self.output_shape()
        return shape[-1] if shape else None

    def task(self, outputs: int | None = None) -> Task:
        """Return what the outputs mean, by the op that gives them; `outputs` is their number where it is known."""
        gives = [call.op.gives for call in self.calls if call.op.name != "identity"]
        return task_of(gives[-1] if gives else "", self.width if outputs is None else outputs)

    @property
    def largest_pixel(self) -> Array | None:
        """The number that integer input is divided by, an array of shape (); None where it is taken as it is."""
        return next((self.array_of(c.arguments[1]) for c in self.calls if c.op.name == "pixels"), None)

    # -- The call ------------------------------------------------------------------------------------

    def is_batch(self, x: Array) -> bool:
        """Return whether `x` is a batch rather than one sample, or raise `ShapeError` where it is neither."""
        shape, samples = tuple(x.shape), self.inputs[0]
        if not samples:
            return len(shape) > 1
        if shape[1:] in samples:  # before the other: a sample with an axis of one channel is a batch of one as well
            return True
        if shape in samples:
            return False
        for rest, answer in ((shape[1:], True), (shape, False)):
            if any(_fits(rest, sample) for sample in samples):
                return answer
        said = [", ".join("size" if size is None else str(size) for size in sample) for sample in samples]
        wanted = " or ".join(f"(n, {s}) or ({s}{'' if ', ' in s else ','})" for s in said)
        raise ShapeError(f"the network takes shape {wanted}; found {shape}")

    def __call__(self, x: Array) -> Array:
        """Return the network's output for one sample or a batch.

        Parameters
        ----------
        x : array, real
            Of the network's library, on its device: one sample, or a batch with one more axis in front.

        Returns
        -------
        array
            Shape (out_features,) or (n, out_features), of the same library.

        Raises
        ------
        BackendError
            If `x` belongs to another library or lives on another device.
        DataError
            If `x` is no array of numbers.
        ShapeError
            If the shape is neither that of a sample nor of a batch.
        """
        if not array_api_compat.is_array_api_obj(x):
            raise backends.refused(x)
        backend = backend_of(x, device=True)
        dtype_of(x)
        batch = self.is_batch(x)
        arrays, here = self.arrays, backend.device
        if arrays:
            backends.array_namespace(arrays[0], x)
            there = backend.device_of(arrays[0])
            if here and there and here != there:
                raise BackendError(
                    f"the network is on {backend.name}:{there}, the input on {backend.name}:{here}; move one: "
                    f"net.to('{backend.name}:{here}') or anyback.asarray(x, backend='{backend.name}:{there}')"
                )
        with backends.scope(backend):
            if batch:
                return self.forward(x)
            y = self.forward(x[None, ...])
            return y[0, ...] if y.ndim else y

    def forward(self, x: Array) -> Array:
        """Return the first output for a batch, without the checks at the door."""
        return plan.run(self.steps, self.outputs, [x, *self.arrays])[0]

    # -- To look at ----------------------------------------------------------------------------------

    def summary(self) -> tuple[Summary, ...]:
        """Return what each call makes of one sample.

        Returns
        -------
        tuple of Summary

        Examples
        --------
        >>> import numpy as np
        >>> from anyback.layers import Linear, Sequential
        >>> Sequential(Linear(np.ones((3, 2)), np.zeros(2))).summary()
        (Summary(name='linear', input=(3,), output=(2,), parameters=8, multiply_adds=6),)
        """
        sample = self.usual_sample
        shapes = self.shapes(None if sample is None else (1, *sample))
        counted: set[int] = set()  # an array that is used twice is trained once
        rows = []
        for number, call in self.results():
            trained = [i for i in _trained(call) if self.array_of(i) is not None and i not in counted]
            counted.update(trained)
            given = [None if i is None else shapes[i] for i in call.arguments]
            if given[0] is None and (taken := _taken(call.op, given, call.attributes)):
                given[0] = (1, *taken)
            rows.append(
                Summary(
                    call.name or call.op.name,
                    None if given[0] is None else given[0][1:],
                    None if shapes[number] is None else shapes[number][1:],
                    sum(math.prod(shapes[i]) for i in trained),
                    0 if given[0] is None else call.op.multiply_adds(*given, **call.attributes),
                )
            )
        return tuple(rows)

    def _title(self) -> str:
        name, backend = type(self).__name__, self.backend
        return f"{name} on {backend}, {backends.dtype_name(self.dtype)}" if backend else name

    def _table(self) -> Table:
        """Return the table of calls, the sums in the last row."""
        rows = self.summary()
        total = Summary("total", None, None, sum(r.parameters for r in rows), sum(r.multiply_adds for r in rows))
        header = ("layer", "input", "output", "parameters", "multiply-adds")
        return Table(header, [row.cells() for row in (*rows, total)], self._title())

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()


@dataclass(frozen=True)
class Summary:
    """What a call makes of one sample.

    Parameters
    ----------
    name : str
        The op, or what the call is called.
    input, output : tuple of int or None
        Shapes of one sample; None where they are not known.
    parameters : int
        Numbers that were trained.
    multiply_adds : int
        Products that are added up.
    """

    name: str
    input: Shape | None
    output: Shape | None
    parameters: int
    multiply_adds: int

    def cells(self) -> tuple[str, ...]:
        """Return the fields in words, blank where there is nothing to say."""
        shapes = ["×".join(map(str, shape)) if shape else "" for shape in (self.input, self.output)]
        return (self.name, *shapes, *(f"{count:,}" if count else "" for count in (self.parameters, self.multiply_adds)))


def is_network(value: object) -> bool:
    """Return whether a value is a network whose calls say what it computes: a subclass may compute something else."""
    kind = type(value)
    return isinstance(value, Network) and (kind.__call__, kind.forward) == (Network.__call__, Network.forward)


def checked_network(net: Any) -> Network:
    """Return `net`, or raise an error where it is no network, or one that gives the same whatever it is given."""
    if not isinstance(net, Network):
        raise AnybackError(f"expected a network, found {type(net).__name__}; load one with anyback.load_model(...)")
    check_outputs(net, net.width)
    return net


def check_outputs(net: Network, width: int | None) -> None:
    """Raise `DataError` where a network of `width` outputs ends in a distribution over one output, which is always 1."""
    last = net.last()
    if width == 1 and last is not None and last.op.gives == "distribution":
        raise DataError(
            f"a {last.op.name} of one output is always 1, whatever the input; two classes from one output take "
            "output='sigmoid', a number takes output='identity'"
        )


def _trained(call: Call) -> list[int]:
    """Return the numbers of the arguments that were trained; all of a function of the user's."""
    if call.op.trained:
        names = list(inspect.signature(call.op.compute).parameters)
        return [i for name, i in zip(names, call.arguments, strict=False) if i is not None and name in call.op.trained]
    return [i for i in call.arguments if i is not None] if call.op.rows is Rows.UNKNOWN else []


def _known(sample: Sample) -> Shape | None:
    """Return a sample shape, or None where one of its sizes may be any."""
    sizes = [size for size in sample if size is not None]
    return tuple(sizes) if len(sizes) == len(sample) else None


def _taken(op: Op, shapes: list[Any], attributes: Mapping[str, Any]) -> Shape | None:
    """Return the sample shape that an op is known to be given, from the shapes of its other arguments."""
    samples = op.takes(*shapes[1:], **attributes)
    return _known(samples[-1]) if samples else None


def _fits(shape: tuple[int, ...], sample: Sample) -> bool:
    return len(shape) == len(sample) and all(b in (None, a) for a, b in zip(shape, sample, strict=True))


# -- Building -----------------------------------------------------------------------------------------


class Builder:
    """A network that is being made: layers add their arrays and calls to it.

    Values are numbered as they come; `network` numbers them as a `Network` does. A builder knows the shapes of the
    values as far as they can be known, so that layers which do not fit are refused when the network is made.
    """

    def __init__(self, inputs: int = 1) -> None:
        #: What is being added, for errors, such as "layer 2".
        self.where = ""
        self._inputs = inputs
        self._samples: tuple[Sample, ...] = ()
        self._arrays: list[tuple[int, Array]] = []
        self._calls: list[tuple[int, Call]] = []
        self._shapes: list[Any] = [None] * inputs  # whole shapes, of a batch of one; of the inputs first

    def array(self, x: Array | None) -> int | None:
        """Return the number of an array, which is held once however often it is added; None for None."""
        if x is None:
            return None
        for number, known in self._arrays:
            if known is x:
                return number
        self._arrays.append((len(self._shapes), x))
        self._shapes.append(tuple(x.shape))
        return len(self._shapes) - 1

    def call(self, op: Op, *arguments: int | None, name: str = "", results: int = 1, **attributes: Any) -> int:
        """Add a call of an op, and return the number of its first result.

        Raises
        ------
        ShapeError
            If the op does not take what it is given.
        """
        shapes = [None if i is None else self._shapes[i] for i in arguments]
        samples = op.takes(*shapes[1:], **attributes)
        if shapes[0] is None and samples:
            self._learn(arguments[0], samples)
            taken = _known(samples[-1])
            shapes[0] = None if taken is None else (1, *taken)
        elif samples and not any(_fits(shapes[0][1:], sample) for sample in samples):
            raise ShapeError(f"{self.where}: {_unfit(shapes[0][1:], samples)}")
        try:
            shape = op.shape(*shapes, **attributes)
        except ShapeError as error:
            raise ShapeError(f"{self.where}: {error}") from None
        number = len(self._shapes)
        self._calls.append((number, Call(op, arguments, results, attributes, name=name)))
        self._shapes.extend([shape] if results == 1 else shape or [None] * results)
        return number

    def embed(self, net: Network, given: int) -> int:
        """Add the calls of a network of one input and one output, and return the number of its output."""
        new = {0: given} | {1 + place: self.array(x) for place, x in enumerate(net.arrays)}
        for number, call in net.results():
            arguments = [None if i is None else new[i] for i in call.arguments]
            found = self.call(call.op, *arguments, name=call.name, results=call.results, **call.attributes)
            new |= {number + k: found + k for k in range(call.results)}
        return new[net.outputs[0]] or 0

    def _learn(self, number: int | None, samples: tuple[Sample, ...]) -> None:
        """Keep what the input may be, where a value has the shape of the input."""
        calls = dict(self._calls)
        while number in calls:
            if not calls[number].op.keeps_shape:
                return
            number = calls[number].arguments[0]
        if number == 0 and not self._samples:
            self._samples = samples

    def fields(self, outputs: Sequence[int], inputs: Any = None) -> tuple[Any, ...]:
        """Return the fields of the network that gives these values; arrays that no call uses are left out.

        Parameters
        ----------
        outputs : sequence of int
            Numbers of values.
        inputs : tuple or None
            What `Network` says of its inputs; None is what has been learnt of the one input.
        """
        used = {i for _, call in self._calls for i in call.arguments} | set(outputs)
        arrays = [(number, x) for number, x in self._arrays if number in used]
        new = {i: i for i in range(self._inputs)}
        new |= {number: self._inputs + place for place, (number, _) in enumerate(arrays)}
        count, calls = self._inputs + len(arrays), []
        for number, call in self._calls:
            arguments = tuple(None if i is None else new[i] for i in call.arguments)
            calls.append(dataclasses.replace(call, arguments=arguments))
            new |= {number + k: count + k for k in range(call.results)}
            count += call.results
        samples = (self._samples,) if inputs is None else inputs
        return tuple(x for _, x in arrays), tuple(calls), samples, tuple(new[i] for i in outputs)


def _unfit(shape: Shape, samples: tuple[Sample, ...]) -> str:
    if len(shape) == 1 and all(len(sample) == 1 for sample in samples):
        return f"expected {shape[0]} input features, as the layer before gives, found {samples[-1][0]}"
    wanted = " or ".join(str(sample).replace("None", "size") for sample in samples)
    return f"expected shape {shape}, as the layer before gives, found a layer that takes {wanted}"


# -- Arrays in what the user wrote ----------------------------------------------------------------------


def map_arrays(value: Any, function: Callable[[Array], Array]) -> Any:
    """Return a value with `function` applied to each array inside; the value itself where nothing changes.

    Arrays are found in networks, tuples, lists, dicts, dataclasses, ``functools.partial`` and bound methods, at any
    depth. Everything else is passed on as it is.
    """
    if array_api_compat.is_array_api_obj(value):
        return function(value)
    if isinstance(value, Network):
        return _unless_same(value, value.arrays, value.map(function))
    if isinstance(value, (tuple, list)):
        items = [map_arrays(item, function) for item in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        changed = {key: map_arrays(item, function) for key, item in value.items()}
        return value if all(changed[key] is value[key] for key in value) else changed
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        found = map_arrays(parts, function)
        return value if found is parts else functools.partial(found[0], *found[1], **found[2])
    if isinstance(value, types.MethodType):
        owner = map_arrays(value.__self__, function)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _map_fields(value, function)
    return value


def _unless_same(value: Network, before: tuple[Array, ...], after: Network) -> Network:
    return value if all(a is b for a, b in zip(before, after.arrays, strict=True)) else after


def _map_fields(value: Any, function: Callable[[Array], Array]) -> Any:
    fields = dataclasses.fields(value)
    before = {f.name: getattr(value, f.name) for f in fields if hasattr(value, f.name)}
    after = {name: map_arrays(item, function) for name, item in before.items()}
    changed = {name: item for name, item in after.items() if item is not before[name]}
    if not changed:
        return value
    made = {f.name for f in fields if f.init}
    copy = dataclasses.replace(value, **{name: item for name, item in changed.items() if name in made})
    for name in changed.keys() - made:
        object.__setattr__(copy, name, changed[name])
    return copy


def arrays_in(value: Any) -> tuple[Array, ...]:
    """Return the arrays inside a value, in the order in which `map_arrays` comes to them."""
    found: list[Array] = []

    def keep(x: Array) -> Array:
        found.append(x)
        return x

    map_arrays(value, keep)
    return tuple(found)
