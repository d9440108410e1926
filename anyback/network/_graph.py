"""A network: a graph of calls of ops, and everything that any network can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from anyback import backends
from anyback._typing import Array, DType, Namespace
from anyback.backends import Backend, BackendLike, Program, backend_of
from anyback.errors import DataError, ShapeError
from anyback.network._call import Call, Sample, known
from anyback.network._door import backend_beside, is_batch
from anyback.network._program import programs_of
from anyback.network._select import selected
from anyback.network._shapes import is_batch_to_flatten, shapes_of, usual_shapes
from anyback.network._shown import Shown
from anyback.network._signature import Signature, called_by_name
from anyback.ops import known_op
from anyback.plan import Rows, Shape
from anyback.tasks import Task, task_of

__all__ = ["Network", "is_network"]


@dataclass(frozen=True, eq=False, repr=False)
class Network(Shown):
    """A network as a graph of calls. Values are numbered: the inputs, then the arrays, then the results of the calls.

    Parameters
    ----------
    arrays : tuple of array
        The arrays that calls use, of one library and device. An array that is used twice stands here once.
    calls : tuple of Call
        The calls, each behind those whose results it uses.
    inputs : tuple of tuple of tuple of (int or None)
        For each input, the shapes that one sample may have, the usual one last; empty where any shape will do.
    outputs : tuple of int
        Numbers of the values that the network returns.
    signature : Signature or None
        The names of inputs and outputs; None where there is one of each, without a name.
    classes : tuple of (int or str), or None
        The class that each output stands for; two for one output that is a probability. None where they are not known.

    Raises
    ------
    BackendError
        If the arrays belong to different libraries.
    """

    arrays: tuple[Array, ...]
    calls: tuple[Call, ...]
    inputs: tuple[tuple[Sample, ...], ...] = ((),)
    outputs: tuple[int, ...] = ()
    signature: Signature | None = None
    classes: tuple[Any, ...] | None = None
    #: Takes the inputs and the arrays, and returns the outputs: the calls with the kernels of the arrays' library.
    program: Program = field(init=False)
    #: The same for one sample, without the axis of the batch.
    program_of_one: Program = field(init=False)
    #: The backend and the device of the arrays; None where there are none.
    backend: Backend | None = field(init=False)
    #: The usual shape of one sample of the first input; None where it is not known.
    usual_sample: Shape | None = field(init=False)

    def __post_init__(self) -> None:
        backends.array_namespace(*self.arrays)
        program, program_of_one = programs_of(self)
        vars(self).update(
            program=program,
            program_of_one=program_of_one,
            backend=backend_of(self.arrays[0], device=True) if self.arrays else None,
            usual_sample=known(self.inputs[0][-1]) if self.inputs and self.inputs[0] else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        # What is derived is left out and derived again: kernels cannot be sent to other processes.
        derived = {field.name for field in fields(Network) if not field.init}
        return {name: value for name, value in vars(self).items() if name not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    # -- The arrays inside ---------------------------------------------------------------------------

    def with_arrays(self, arrays: Iterable[Array]) -> Network:
        """Return the same network with other arrays, in the order of `arrays`."""
        return Network(tuple(arrays), self.calls, self.inputs, self.outputs, self.signature, self.classes)

    def map(self, function: Callable[[Array], Array]) -> Network:
        """Return the same network with `function` applied to each array inside.

        Parameters
        ----------
        function : callable
            Takes an array and returns one of the same shape.

        Returns
        -------
        Network
            Of the same class, unless a layer makes arrays of its own: then its calls alone.
        """
        return self.with_arrays([function(x) for x in self.arrays])

    @property
    def xp(self) -> Namespace | None:
        """The namespace of the network's arrays; None where it has none."""
        return backends.array_namespace(*self.arrays)

    @property
    def dtype(self) -> DType | None:
        """The dtype of the network's first floating-point array, in its library's words; None where it has none."""
        return next((x.dtype for x in self.arrays if backends.is_float(x)), None)

    def to(self, backend: BackendLike | None = None, *, dtype: str | None = None) -> Network:
        """Return the same network with its arrays on another backend, or of another floating-point type.

        Parameters
        ----------
        backend : str, Backend or None
            The target, such as ``"cupy"``, ``"torch:cuda:1"`` or ``"jax:cpu"``; None keeps the library and device.
        dtype : str or None
            The floating-point type for all its floating-point arrays, such as ``"float64"``; None keeps their types.

        Returns
        -------
        Network
            Of the same class, unless a layer makes arrays of its own: then its calls alone.

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
        net = self if dtype is None else self.retyped(dtype)
        return net.map(lambda x: backends.asarray(x, dtype=dtype if backends.is_float(x) else None, backend=place))

    def retyped(self, dtype: str) -> Network:
        """Return the same network with another floating-point type in the calls that name one; see `Op.types`."""
        calls = tuple(call.retyped(dtype) for call in self.calls)
        if all(new is old for new, old in zip(calls, self.calls, strict=True)):
            return self
        return Network(self.arrays, calls, self.inputs, self.outputs, self.signature, self.classes)

    # -- The graph -----------------------------------------------------------------------------------

    @property
    def first_result(self) -> int:
        """The number of the first value that a call gives."""
        return len(self.inputs) + len(self.arrays)

    def results(self) -> Iterator[tuple[int, Call]]:
        """Yield for each call, in order, the number of its first result and the call."""
        number = self.first_result
        for call in self.calls:
            yield number, call
            number += call.results

    def array_of(self, number: int | None) -> Array | None:
        """Return the array of a number; None where the number is that of another value, or is None."""
        place = -1 if number is None else number - len(self.inputs)
        return self.arrays[place] if 0 <= place < len(self.arrays) else None

    def last(self) -> Call | None:
        """Return the call that computes the first output, ignoring identities; None where the output is an input."""
        calls = dict(self.results())
        call = calls.get(self.outputs[0])
        while call is not None and call.op.name == "identity" and known_op(call.op):
            call = calls.get(-1 if call.arguments[0] is None else call.arguments[0])
        return call

    def select(self, *values: int | str) -> Network:
        """Return the network that returns these values, without the calls and arrays that they do not need.

        Parameters
        ----------
        *values : int or str
            Numbers of values, or names of outputs.

        Raises
        ------
        DataError
            If a name is that of no output.
        """
        return Network(*selected(self, values))

    @property
    def rows(self) -> Rows:
        """How a row of the output depends on the rows of the input: the largest `Rows` of the calls."""
        return max((call.op.rows for call in self.calls), default=Rows.ALONE)

    def shapes(self, *inputs: Shape | None, n: int | None = None) -> list[Any]:
        """Return the whole shapes of all values, by number; None where one is not known.

        Parameters
        ----------
        *inputs : tuple of int or None
            The whole shape of each input, the batch included; None where it is not known.
        n : int or None
            The rows of the batch; None is as many as the first input has, or one.

        Raises
        ------
        ShapeError
            If an op does not take arguments of the shapes that were found.
        """
        return shapes_of(self, inputs, n)

    @property
    def sample_shapes(self) -> tuple[Sample, ...]:
        """The shapes that one sample of the first input may have; empty where any shape will do."""
        return self.inputs[0]

    def output_shape(self) -> Shape | None:
        """Return the shape of the first output for one sample; None where it is not known."""
        found = usual_shapes(self)[self.outputs[0]]
        return None if found is None else found[1:]

    @property
    def width(self) -> int | None:
        """The number of outputs for one sample; None where it is not known."""
        shape = self.output_shape()
        return shape[-1] if shape else None

    def task(self, outputs: int | None = None) -> Task:
        """Return the task, by the op that computes the outputs; `outputs` is their number, None for `width`."""
        last = self.last()
        return task_of("" if last is None else last.op.gives, self.width if outputs is None else outputs)

    @property
    def largest_pixel(self) -> Array | None:
        """The number that integer input is divided by, an array of shape (); None where integers are not divided."""
        scales = [call for call in self.calls if call.op.name == "pixels" and known_op(call.op)]
        return self.array_of(scales[0].arguments[1]) if scales else None

    # -- The call ------------------------------------------------------------------------------------

    def is_batch(self, x: Array) -> bool:
        """Return whether `x` is a batch rather than one sample, or raise `ShapeError` where it is neither."""
        shape = tuple(x.shape)
        try:
            return is_batch(shape, self.inputs[0])
        except ShapeError:
            if (answer := is_batch_to_flatten(self, shape)) is None:
                raise
            return answer

    def __call__(self, *inputs: Array, **named: Array) -> Any:
        """Return the network's output for one sample or a batch.

        Parameters
        ----------
        *inputs : array, real
            An array of the network's library, on its device: one sample, or a batch with one more axis in front. A
            network of several inputs takes one array for each, in order, with the batch axis that its file declares.
        **named : array
            Inputs by name, where the network's file names them.

        Returns
        -------
        array or dict of str to array
            Shape (out_features,) or (n, out_features), of the same library. A network of several outputs returns them
            by name.

        Raises
        ------
        BackendError
            If `x` belongs to another library or lives on another device.
        DataError
            If `x` is no array of numbers.
        ShapeError
            If the shape is neither that of a sample nor of a batch.
        """
        if self.signature is not None and (named or len(inputs) != 1 or len(self.signature.inputs) != 1):
            return called_by_name(self, inputs, named)
        if named or len(inputs) != 1:
            inputs = (*inputs, *named.values())
            if len(inputs) != 1 or named.keys() - {"x"}:
                count, names = len(inputs) - len(named), ", ".join(named) or "no names"
                raise DataError(f"the network takes one input, x; found {count} and {names}")
        (x,) = inputs
        backend_beside(self.arrays, self.backend, x)
        batch = self.is_batch(x)
        if self.usual_sample is None:  # else the shapes of all values were checked when the network was made
            self.shapes(tuple(x.shape) if batch else (1, *x.shape))
        return self.forward(x) if batch else self.named_outputs(self.program_of_one([x, *self.arrays]))

    def backend_beside(self, x: Array) -> Backend:
        """Return the backend of an input, with its device, or raise `BackendError` where the network is elsewhere."""
        return backend_beside(self.arrays, self.backend, x)

    def named_outputs(self, outputs: tuple[Array, ...]) -> Any:
        """Return the output of a network of one output, or a dict of the outputs by name."""
        if self.signature is None or len(outputs) == 1:
            return outputs[0]
        return dict(zip(self.signature.outputs, outputs, strict=True))

    def forward(self, x: Array) -> Array:
        """Return the output for a batch, or the outputs by name, without the checks of `__call__`."""
        return self.named_outputs(self.program([x, *self.arrays]))


def is_network(value: object) -> bool:
    """Return whether a value is a network that computes its calls: a subclass with its own `__call__` may not."""
    kind: Any = type(value)
    return isinstance(value, Network) and (kind.__call__, kind.forward) == (Network.__call__, Network.forward)
