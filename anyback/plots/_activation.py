"""Activation functions as curves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import array_api_compat
import numpy as np

from anyback import activations, backends
from anyback._typing import Array
from anyback.activations import Activation
from anyback.errors import AnybackError
from anyback.ops import is_op, known_op
from anyback.plots._axes import COLOURS, PALE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FORMULAS", "plot_activation"]

#: What the legend says of the known ones, in matplotlib's form of TeX; the rest of the legend is the name.
FORMULAS: MappingProxyType[str, str] = MappingProxyType(
    {
        "identity": r"$x$",
        "step": r"$1$ where $x > 0$, else $0$",
        "sigmoid": r"$1\,/\,(1 + e^{-x})$",
        "relu": r"$\max(x, 0)$",
        "leaky_relu": r"$x$ where $x > 0$, else $0.01\,x$",
        "elu": r"$x$ where $x > 0$, else $e^{x} - 1$",
        "gelu": r"$x\,\Phi(x)$, $\Phi$ of the normal distribution",
        "silu": r"$x\,/\,(1 + e^{-x})$",
        "tanh": r"$(e^{x} - e^{-x})\,/\,(e^{x} + e^{-x})$",
        "softplus": r"$\log(1 + e^{x})$",
    }
)
_LINES = ("-", "--", "-.", ":")
_Curve = tuple[str, np.ndarray, np.ndarray]


def plot_activation(
    functions: Activation | Sequence[Activation] = ("step", "sigmoid"),
    x: Array | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw activation functions over x: by default the step beside the sigmoid, as in the book.

    Parameters
    ----------
    functions : str, callable, or a sequence of them
        Names in ``anyback.activations.ACTIVATIONS``, or functions of one array.
    x : array or None
        The points, shape (n,), of any library, which computes the functions; None is 1,001 points from -5 to 5.
    ax : matplotlib.axes.Axes or None
        The Axes to draw into; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each function. A jump, as that of the step, is drawn upright. Where functions coincide, the
        first has the widest line, so that all are visible.

    Raises
    ------
    AnybackError
        If a name is unknown, a function has no curve as softmax has none, or matplotlib is missing.

    Examples
    --------
    >>> ax = plot_activation(["step", "identity"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['step: $1$ where $x > 0$, else $0$', 'identity: $x$']
    """
    chosen = [functions] if isinstance(functions, str) or callable(functions) else list(functions)
    curves = [activations.get(function) for function in chosen]
    x = np.linspace(-5.0, 5.0, 1001) if x is None else x
    drawn = [(_label(function), *_upright(function, x, _curve(function, x))) for function in curves]
    ax = new_axes(ax, 6.4, 3.6 + 0.25 * len(drawn))
    ax.axhline(0, color=PALE, linewidth=1, zorder=0)
    ax.axvline(0, color=PALE, linewidth=1, zorder=0)
    widths = [2.0 + 2.5 * _hidden(drawn[i], drawn[i + 1 :]) for i in range(len(drawn))]
    for (label, at, y), width, colour, line in zip(
        drawn, widths, itertools.cycle(COLOURS), itertools.cycle(_LINES), strict=False
    ):
        ax.plot(at, y, color=colour, linestyle=line, linewidth=width, label=label)
    ax.margins(x=0, y=0.05)
    ax.set(xlabel="x", ylabel="h(x)")
    if drawn:
        # Above the curves: inside, a legend of formulas might cover one of them.
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return ax


def _label(function: Callable[[Array], Array]) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    formula = FORMULAS.get(name) if is_op(function) and known_op(function) else None
    # What comes from a user may hold a dollar, which would begin a formula.
    return f"{name}: {formula}" if formula else name.replace("$", r"\$")


def _curve(function: Callable[[Array], Array], x: Array) -> np.ndarray:
    # A distribution depends on all inputs together.
    if is_op(function) and function.gives == "distribution":
        raise AnybackError(f"{function.name} has no curve: each output depends on all inputs; use plot_probabilities")
    y = backends.to_numpy(function(x))
    if y.shape != tuple(x.shape) or y.ndim != 1:
        raise AnybackError(f"{_label(function)}: expected shape {tuple(x.shape)} of one axis, found {y.shape}")
    return y


def _upright(function: Callable[[Array], Array], x: Array, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve with an upright line where the function jumps from one level to another, as the step does.

    A line from one point to the next would be a slope, which the function does not have. The jump is found by
    bisection, down to two neighbouring numbers of the library's type.
    """
    at = backends.to_numpy(x)
    level = y[:-1] == y[1:]
    # Between two levels there is a jump, or a short slope.
    places = np.flatnonzero(level[:-2] & ~level[1:-1] & level[2:]) + 1
    if not places.size or not backends.is_float(x):  # integers have no halves
        return at, y
    xp, device = backends.array_namespace(x), array_api_compat.device(x)
    before, after = at[places], at[places + 1]
    for _ in range(60):
        middle = (before + after) / 2
        same = backends.to_numpy(function(xp.asarray(middle, dtype=x.dtype, device=device))) == y[places]
        before, after = np.where(same, middle, before), np.where(same, after, middle)
    jumps = backends.to_numpy(function(xp.asarray(after, dtype=x.dtype, device=device))) == y[places + 1]
    places, edges = places[jumps], after[jumps]
    twice = np.repeat(places + 1, 2)
    levels = np.stack([y[places], y[places + 1]], axis=1).ravel()
    return np.insert(at, twice, np.repeat(edges, 2)), np.insert(y, twice, levels)


def _hidden(curve: _Curve, later: Sequence[_Curve]) -> int:
    """Return how many of the later curves lie on a curve."""
    _, at, y = curve
    alike = [other for _, there, other in later if np.array_equal(at, there)]
    near = 0.01 * max(1e-12, float(np.ptp(y[np.isfinite(y)]))) if np.isfinite(y).any() else 0.0
    return sum(np.allclose(y, other, rtol=0, atol=near, equal_nan=True) for other in alike)
