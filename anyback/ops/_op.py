"""What an op is: a function of arrays that says its own facts."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from anyback import backends
from anyback._typing import Array, DType
from anyback.backends import Backend, Product
from anyback.numbers import dtype_name
from anyback.ops._casts import FLOATS
from anyback.plan import Casts, Rows, Shape

__all__ = ["OPS", "Op", "is_op", "known_op", "op", "same"]


def same(x: Shape | None, *others: Shape | None, **attributes: Any) -> Shape | None:
    """Return the shape of the first argument: that of an elementwise op."""
    return x


def _nothing(*shapes: Shape | None, **attributes: Any) -> int:
    return 0


def _anything(*shapes: Shape | None, **attributes: Any) -> tuple[()]:
    return ()


def _never(shape: Shape | None, **attributes: Any) -> bool:
    return False


@dataclass(frozen=True, eq=False, repr=False)
class Op:
    """A function of arrays and the facts about it. It is called like the function.

    Parameters
    ----------
    name : str
        The name. A library's own kernel is looked up by it.
    compute : callable
        The function, in the standard alone: arrays first, then attributes by name. It runs on any arrays.
    shape : callable
        Takes the whole shapes of the arguments, the batch included, and the attributes; returns the whole shape of the
        result, or None where it is not known.
    rows : Rows
        How a row of the result depends on the rows of the first argument.
    casts : Casts
        The rule for types: by default, integers become the library's default floating-point type, and float16 and
        bfloat16 are computed in float32 and rounded once.
    takes : callable
        Takes the shapes of all arguments but the first, and the attributes; returns the sample shapes that the first
        argument may have, the usual one last. None in a shape is a size that may be any. An empty tuple: any shape.
    multiply_adds : callable
        Takes shapes and attributes like `shape`; returns the number of multiply-adds.
    fresh : bool
        Whether the result is always memory of its own, never a view of an argument.
    products : bool
        Whether its operands are rounded when products are computed at a lower precision.
    keeps_order : callable
        Takes the shape of the result, and the attributes; returns whether the largest output stands where the largest
        input does.
    gives : str
        What the outputs of a network that ends here are: ``"distribution"`` adds up to 1, ``"probabilities"`` are each
        from 0 to 1; empty for anything else.
    trained : tuple of str
        The parameters of `compute` whose arrays were trained.
    types : tuple of str
        The attributes that are names of types: a network that is moved to another floating-point type changes these.
    travels : callable or None
        Takes what is known of the arguments, and the attributes; returns where the rows of the arguments are in the
        result, or None where that is not known: see `Travel`. None is that they stay on the first axis where `rows`
        says that they do not depend on each other; else nothing.
    """

    name: str
    compute: Callable[..., Any]
    shape: Callable[..., Any]
    rows: Rows = Rows.UNKNOWN
    casts: Casts = FLOATS
    takes: Callable[..., tuple[tuple[int | None, ...], ...]] = _anything
    multiply_adds: Callable[..., int] = _nothing
    fresh: bool = False
    products: bool = False
    keeps_order: Callable[..., bool] = _never
    gives: str = ""
    trained: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    travels: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        # help(), doctest and inspect.signature then see the function.
        names = ("__module__", "__name__", "__qualname__", "__doc__")
        found = {name: getattr(self.compute, name) for name in names if hasattr(self.compute, name)}
        vars(self).update(found, __wrapped__=self.compute)

    @property
    def keeps_shape(self) -> bool:
        """Whether the result has the shape of the first argument, whatever that is."""
        return self.shape is same

    def __call__(self, *arguments: Any, **attributes: Any) -> Any:
        """Return the result, computed by the kernel of the library of the arrays, where it has one."""
        x = arguments[0]
        backends.dtype_of(x)
        if len(arguments) > 1:
            backends.array_namespace(*[a for a in arguments if hasattr(a, "dtype")])
        if not self.keeps_shape:  # raises ShapeError for shapes that do not fit
            self.shape(*[tuple(a.shape) if hasattr(a, "dtype") else a for a in arguments], **attributes)
        return self.bound(backends.backend_of(x))(*arguments, **attributes)

    def formula(self, *arguments: Any, **attributes: Any) -> Any:
        """Return the result of the op's own function, without a library's kernel: for functions that are made of ops.

        A kernel may give a number other bits at another place of the array; the op's own function does not. Arrays that
        carry bounds take their rule for the op, where there is one.
        """
        rules = getattr(type(backends.array_namespace(arguments[0])), "kernels_of_anyback", {})
        rule = rules.get(self.name) if known_op(self) else None
        return (self.compute if rule is None else rule.compute)(*arguments, **attributes)

    def kernel(self, backend: Backend, in_place: bool = False) -> Callable[..., Any]:
        """Return the function that computes one call of the op in a network, on arrays of a backend.

        `in_place` is whether it may overwrite its first argument.
        """
        own = backend.own.get(self.name) if known_op(self) else None
        return self.compute if own is None else own.over(self.compute, in_place, keeps=True)

    def bound(
        self,
        backend: Backend | None,
        kernel: Callable[..., Any] | None = None,
        *,
        cast: bool = True,
        tiles: bool = True,
    ) -> Callable[..., Any]:
        """Return the function that computes the op on arrays of a backend; None looks at the arrays of each call.

        Parameters
        ----------
        backend : Backend or None
            The library and the device.
        kernel : callable or None
            What computes; None is the library's kernel where it has one.
        cast : bool
            Whether the rule for types is applied around it.
        tiles : bool
            Whether there may be as many rows as in a tile.
        """
        if self.rows >= Rows.ANY and self.casts.apply is None and not known_op(self):
            return self.compute  # it asks its arguments for all that it needs
        if backend is None:
            return self
        if kernel is None:
            own = backend.own.get(self.name) if known_op(self) else None
            kernel = self.compute if own is None else own.over(self.compute)
        if tiles and self.rows is Rows.PRODUCT:
            kernel = _in_tiles(self, backend, kernel)
        return functools.partial(self.casts.apply, kernel) if cast and self.casts.apply is not None else kernel

    def product(
        self,
        x: Shape | None,
        arrays: Sequence[Shape | None],
        dtype: DType,
        attributes: Mapping[str, Any],
        tile: int,
    ) -> Product:
        """Return the product of an `x` of this whole shape with arrays, as data by which its way is chosen."""
        shapes = tuple(None if shape is None else tuple(map(int, shape)) for shape in arrays)
        sample = None if x is None else tuple(map(int, x[1:]))
        return Product(
            op=self.name if known_op(self) else "",
            compute=self.compute,
            sample=sample,
            shapes=shapes,
            dtype=dtype_name(dtype),
            attributes=tuple(sorted(attributes.items())),
            tile=tile,
            multiply_adds=0 if sample is None else self.multiply_adds((1, *sample), *shapes, **attributes),
        )

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> Any:
        module = sys.modules.get(self.__module__)
        if getattr(module, self.name, None) is self:
            return self.name  # by reference, as a function
        return Op, tuple(getattr(self, field.name) for field in dataclasses.fields(self))


def _in_tiles(op: Op, backend: Backend, kernel: Callable[..., Array]) -> Callable[..., Array]:
    """Return a product's kernel that computes a whole tile in the chosen way, so that equal rows have equal bits.

    Functions of the user's that call ops are given whole tiles by `predict`.
    """
    tile = backend.tile

    def product(x: Array, *arrays: Any, **attributes: Any) -> Array:
        if x.shape[0] != tile or backend.compiling() is not None:
            return kernel(x, *arrays, **attributes)
        shapes = [None if a is None else a.shape for a in arrays]
        found = op.product(x.shape, shapes, arrays[0].dtype, attributes, tile)
        return backend.way(backends.get_precision(), found).ready(*arrays, **attributes)(x)

    return product


#: The ops by name. An op that is not in this table works too, but is never computed by a library's own kernel.
OPS: dict[str, Op] = {}


def known_op(found: Op) -> bool:
    """Return whether the table has this very op under its name; only then may a library's kernel compute it."""
    return OPS.get(found.name) is found


def is_op(value: object) -> TypeGuard[Op]:
    """Return whether a value is an op."""
    return isinstance(value, Op)


def op(shape: Callable[..., Any] = same, **facts: Any) -> Callable[[Callable[..., Array]], Op]:
    """Return a decorator that makes an op of a function; see `Op` for the facts."""

    def made(compute: Callable[..., Array]) -> Op:
        found = Op(compute.__name__, compute, shape, **facts)
        compute.__qualname__ += ".compute"  # where pickle finds the function, now that the op has its name
        return found

    return made
