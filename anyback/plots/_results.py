"""Pictures of results: the confusion of an evaluation, and the errors of a comparison of libraries."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.agreement import Report, Row
from anyback.errors import DataError
from anyback.evaluation import Evaluation
from anyback.plots._axes import BLACK, BLUE, GREY, ORANGE, inches, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_confusion", "plot_parity"]


_MOST_COUNTED = 26


def plot_confusion(result: Evaluation | Array, *, ax: Axes | None = None) -> Axes:
    """Draw how often each true class was read as each class: right answers in blue, mistakes in orange.

    Parameters
    ----------
    result : Evaluation or array, integer
        The result of `evaluate`, or counts of shape (classes, classes), with the true class as the first index.
    ax : matplotlib.axes.Axes or None
        The Axes to draw into; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With a text for each count above 0; with colours alone for more than 26 classes.

    Raises
    ------
    DataError
        If the counts are not square.
    AnybackError
        If matplotlib is missing.

    Examples
    --------
    >>> ax = plot_confusion([[8, 1], [0, 9]])
    >>> [text.get_text() for text in ax.texts]
    ['8', '1', '9']
    """
    evaluated = hasattr(result, "confusion")
    if evaluated and result.confusion is None:
        raise DataError("expected an evaluation of classes, found one of numbers or of several labels")
    counts = backends.to_numpy(result.confusion if evaluated else result)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise DataError(f"expected counts of shape (classes, classes), found {counts.shape}")
    n = len(counts)
    side = min(max(3.2, 0.5 * n + 1.0), 10.0)
    ax = new_axes(ax, side, side)
    right = np.eye(n, dtype=bool)
    # Two scales: on one, the many right answers would leave every mistake white.
    for mask, colours in ((~right, "Oranges"), (right, "Blues")):
        shown = np.ma.masked_where(~mask, counts)
        ax.imshow(shown, cmap=colours, vmin=0, vmax=1.6 * max(1, int(counts[mask].max(initial=0))))
    ax.set(xlabel="read as", ylabel="true class")
    if n <= _MOST_COUNTED:  # in smaller cells, numbers would lie on each other
        size = min(9.0, 110 * inches(ax) / n / len(str(counts.max())))
        for i, j in zip(*np.nonzero(counts), strict=True):
            ax.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=size, color=BLACK)
        ax.set(xticks=range(n), yticks=range(n))
    if evaluated:
        said = f"accuracy {result.accuracy:.4f}: {result.correct:,} of {result.total:,}"
        ax.set_title(said, fontsize="medium")
    return ax


def plot_parity(report: Report, *, ax: Axes | None = None) -> Axes:
    """Draw the largest error of each library beside the tolerance, on a logarithmic axis.

    Parameters
    ----------
    report : Report
        The result of `anyback.parity`.
    ax : matplotlib.axes.Axes or None
        The Axes to draw into; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With a line for each library and device. Filled circles were measured, hollow squares were simulated, and
        crosses break the contract; the reasons stand below.

    Raises
    ------
    AnybackError
        If matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> from anyback.agreement import parity
    >>> report = parity("digits-mlp", ab.datasets.digits("test").images[:20], backends=["numpy"], simulate=False)
    >>> ax = plot_parity(report)
    >>> ax.get_xscale(), [label.get_text() for label in ax.get_yticklabels()]
    ('log', ['numpy:cpu'])
    """
    rows = report.rows
    why = _why(rows, 5.0 if ax is None else inches(ax))
    ax = new_axes(ax, 6.4, 1.5 + 0.36 * len(rows) + 0.16 * len(why))
    known = [row.max_error for row in rows if row.usable and 0 < row.max_error < np.inf]
    least, most = min([*known, report.tolerance]) / 30, max([*known, report.tolerance]) * 10
    ax.set(xscale="log", xlim=(least, most), ylim=(max(len(rows), 1) - 0.5, -0.5))
    ax.axvline(report.tolerance, color=GREY, linestyle="--", linewidth=1)
    for kind, style in _MARKS.items():
        chosen = [(i, row) for i, row in enumerate(rows) if row.usable and _kind(row) == kind]
        # What is off the axis stands at its edge, and `_remark` says what it is.
        at = [float(np.clip(row.max_error, 1.5 * least, most / 1.5)) for _, row in chosen]
        if chosen:
            ax.plot(at, [i for i, _ in chosen], linestyle="none", markersize=8, label=kind, **style)
    for i, row in enumerate(rows):
        place: dict[str, Any]
        side: dict[str, Any]
        if row.usable:
            place = {"xy": (float(np.clip(row.max_error, 1.5 * least, most / 1.5)), i), "xycoords": "data"}
            side = {"xytext": (-8, 0), "ha": "right"} if row.max_error > least else {"xytext": (8, 0), "ha": "left"}
        else:
            place = {"xy": (0, i), "xycoords": ax.get_yaxis_transform()}
            side = {"xytext": (4, 0), "ha": "left", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        colour = ORANGE if row.broken else GREY
        ax.annotate(_remark(row), **place, **side, textcoords="offset points", va="center", color=colour, fontsize=9)
    ax.set_yticks(range(len(rows)), [_name(row) for row in rows])
    ax.set_xlabel("largest error of an output, against float64 NumPy")
    ax.grid(axis="x", alpha=0.3)
    ax.annotate(
        f"tolerance {report.tolerance:.0e}",
        (report.tolerance, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color=GREY,
    )
    if why:
        ax.annotate(
            "\n".join(why),
            (0, 0),
            xycoords=(ax.transAxes, ax.xaxis.label),
            xytext=(0, -6),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=ORANGE,
            parse_math=False,
        )
    handles, labels = ax.get_legend_handles_labels()
    if len(handles) > 1:
        ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.08), ncols=3, frameon=False)
    return ax


_MARKS: dict[str, dict[str, Any]] = {
    "measured": {"marker": "o", "color": BLUE},
    "simulated": {"marker": "s", "markerfacecolor": "white", "markeredgecolor": BLUE, "markeredgewidth": 1.5},
    "breaks the contract": {"marker": "X", "color": ORANGE},
}


def _kind(row: Row) -> str:
    return "breaks the contract" if row.broken else "simulated" if row.simulated else "measured"


def _why(rows: Sequence[Row], width: float) -> list[str]:
    """Return the faults of each library that breaks the contract, in at most two lines of a width in inches."""
    lines = []
    for row in rows:
        if row.broken:
            fault = "; ".join(row.broken) if row.usable else row.reason
            # About 14 characters of this size to an inch. What is cut off is in the report.
            lines += textwrap.wrap(f"{_name(row)}: {fault}", max(20, int(14 * width)), max_lines=2, placeholder=" …")
    return lines


def _remark(row: Row) -> str:
    """Return the remark on an entry whose mark on the axis does not say all, or an empty text."""
    if not row.usable:
        return "cannot be used" if row.broken else "not usable here"
    if not np.isfinite(row.max_error):
        return "not a number"
    if row.max_error == 0:  # also that of a row without a result
        return "see below" if row.broken else "equal"
    return ""


def _name(row: Row) -> str:
    place = f"{row.backend}:{row.device}" if row.device else row.backend
    return f"{place}, {row.precision}" if row.simulated or row.precision not in ("", "highest") else place
