"""A network that is being made, call by call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from anyback._typing import Array
from anyback.errors import ShapeError
from anyback.network._call import Call, Sample, fits, known
from anyback.ops import Op
from anyback.plan import Shape

__all__ = ["Builder"]


class Builder:
    """A network that is being made: layers add their arrays and calls to it.

    Values are numbered in the order in which they are added; `fields` renumbers them as a `Network` does. A builder
    keeps the shapes of values as far as they can be known, so that a layer which does not fit is refused at once.

    Parameters
    ----------
    inputs : int
        How many inputs there are at first.
    rows : int or None
        How many rows the batch has, of which the shapes are. None where values have different numbers of rows.
    """

    def __init__(self, inputs: int = 1, rows: int | None = 1) -> None:
        #: The layer that is being added, in the words of errors, such as "layer 2".
        self.where = ""
        self._inputs, self.rows = list(range(inputs)), rows
        self._samples: tuple[Sample, ...] = ()
        self._arrays: dict[int, tuple[int, Array]] = {}  # by id(); holding the arrays keeps their ids from being reused
        self._by_number: dict[int, Array] = {}
        self._calls: dict[int, Call] = {}
        self._shapes: list[Any] = [None] * inputs  # whole shapes; of the inputs first

    def input(self, shape: Shape | None = None) -> int:
        """Add an input and return its number; `shape` is its whole shape, None if not known."""
        self._inputs.append(len(self._shapes))
        self._shapes.append(shape)
        return self._inputs[-1]

    @property
    def inputs(self) -> int:
        """How many inputs there are."""
        return len(self._inputs)

    def call_of(self, number: int) -> Call | None:
        """Return the call whose first result has a number; None where that is another value."""
        return self._calls.get(number)

    def values(self) -> Iterator[tuple[int, Call | None]]:
        """Yield in order the number of each input, with None, and of the first result of each call, with the call."""
        yield from sorted([*((number, None) for number in self._inputs), *self._calls.items()], key=lambda v: v[0])

    def array_at(self, number: int) -> Array | None:
        """Return the array of a number; None where that is another value."""
        return self._by_number.get(number)

    def shape_of(self, number: int) -> Shape | None:
        """Return the whole shape of a value; None where it is not known."""
        shape: Shape | None = self._shapes[number]
        return shape

    def learn_shape(self, number: int, shape: Shape | None) -> None:
        """Keep the whole shape of a value, where its op does not say it."""
        if self._shapes[number] is None:
            self._shapes[number] = shape

    def array(self, x: Array | None) -> int | None:
        """Return the number of an array; one that was added before keeps its number. None for None."""
        if x is None:
            return None
        if id(x) not in self._arrays:
            self._arrays[id(x)] = len(self._shapes), x
            self._by_number[len(self._shapes)] = x
            self._shapes.append(tuple(x.shape))
        return self._arrays[id(x)][0]

    def call(
        self, op: Op, *arguments: int | None, name: str = "", source: str = "", results: int = 1, **attributes: Any
    ) -> int:
        """Add a call of an op, and return the number of its first result.

        Raises
        ------
        ShapeError
            If the op does not take arguments of these shapes.
        """
        shapes: list[Any] = [None if i is None else self._shapes[i] for i in arguments]
        samples = op.takes(*shapes[1:], **attributes)
        if samples and shapes[0] is None:
            self._learn(arguments[0], samples)
            taken = known(samples[-1])
            shapes[0] = None if taken is None or self.rows is None else (self.rows, *taken)
        try:
            shape = op.shape(*shapes, **attributes)
        except ShapeError as error:
            unfit = samples and shapes[0] is not None and not any(fits(shapes[0][1:], sample) for sample in samples)
            raise ShapeError(f"{self.where}: {_unfit(shapes[0][1:], samples) if unfit else error}") from None
        number = len(self._shapes)
        self._calls[number] = Call(op, arguments, results, attributes, name, source)
        self._shapes.extend([shape] if results == 1 else shape or [None] * results)
        return number

    def embed(self, net: Any, given: int) -> int:
        """Add the calls of a network of one input and one output, and return the number of its output."""
        self._learn(given, net.inputs[0])
        new = {0: given} | {1 + place: self.array(x) for place, x in enumerate(net.arrays)}
        for number, call in net.results():
            arguments = [None if i is None else new[i] for i in call.arguments]
            found = self.copy(call, arguments)
            new |= {number + k: found + k for k in range(call.results)}
        return new[net.outputs[0]] or 0

    def copy(self, call: Call, arguments: Sequence[int | None]) -> int:
        """Add a call of another network with other arguments, and return the number of its first result."""
        return self.call(
            call.op, *arguments, name=call.name, source=call.source, results=call.results, **call.attributes
        )

    def _learn(self, number: int | None, samples: tuple[Sample, ...]) -> None:
        """Keep `samples` as the shapes of the input where the value is the input, or has its shape by construction."""
        while number in self._calls:
            if not self._calls[number].op.keeps_shape:
                return
            number = self._calls[number].arguments[0]
        if number == 0 and samples and not self._samples:
            self._samples = samples

    def fields(self, outputs: Sequence[int], inputs: Any = None, *, needed: bool = False) -> tuple[Any, ...]:
        """Return the first four fields of the network that returns these values, without arrays that no call uses.

        Parameters
        ----------
        outputs : sequence of int
            Numbers of values.
        inputs : tuple or None
            The field `inputs` of `Network`; None is for one input, of the shapes that its calls take.
        needed : bool
            Whether calls whose results nothing needs are left out, too.
        """
        kept = self._needed(outputs) if needed else self._calls
        used = {i for call in kept.values() for i in call.arguments} | set(outputs)
        arrays = [(number, x) for number, x in self._arrays.values() if number in used]
        new = {number: place for place, number in enumerate(self._inputs)}
        new |= {number: len(new) + place for place, (number, _) in enumerate(arrays)}
        count, calls = len(new), []
        for number, call in kept.items():
            arguments = tuple(None if i is None else new[i] for i in call.arguments)
            calls.append(Call(call.op, arguments, call.results, call.attributes, call.name, call.source))
            new |= {number + k: count + k for k in range(call.results)}
            count += call.results
        samples = (self._samples,) if inputs is None else inputs
        return tuple(x for _, x in arrays), tuple(calls), samples, tuple(new[i] for i in outputs)

    def _needed(self, outputs: Sequence[int]) -> dict[int, Call]:
        """Return the calls that some values need."""
        needed: set[int | None] = set(outputs)
        kept = []
        for number, call in reversed(self._calls.items()):
            if not needed.isdisjoint(range(number, number + call.results)):
                kept.append((number, call))
                needed.update(call.arguments)
        return dict(reversed(kept))


def _unfit(shape: Shape, samples: tuple[Sample, ...]) -> str:
    if len(shape) == 1 and all(len(sample) == 1 for sample in samples):
        return f"expected {shape[0]} input features, as the layer before gives, found {samples[-1][0]}"
    wanted = " or ".join(str(sample).replace("None", "size") for sample in samples)
    return f"expected shape {shape}, as the layer before gives, found a layer that takes {wanted}"
