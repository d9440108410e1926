"""Pictures: what they show is what was given, nothing lies on anything else, and none needs a screen."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Library
from test_layers import toy

import anyback as ab
from anyback import plots
from anyback.activations import ACTIVATIONS, relu, sigmoid, softmax
from anyback.agreement import TOLERANCE, Report, Row
from anyback.cli._plots import save
from anyback.layers import BatchNorm, Conv, Flatten, Linear, MaxPool, Pixels, Reshape, Residual, Sequential
from anyback.network import Builder
from anyback.ops import OPS, Rows, op
from anyback.plots import _activation
from anyback.tasks import task_of

mpl = pytest.importorskip("matplotlib")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Circle, Rectangle  # noqa: E402


@pytest.fixture(autouse=True)
def off_screen() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits() -> ab.datasets.Dataset:
    return ab.datasets.digits("test")


@pytest.fixture(scope="module")
def net() -> Sequential:
    return ab.load_model("digits-mlp", backend="numpy")


@pytest.fixture(scope="module")
def result(net: Sequential, digits: ab.datasets.Dataset) -> ab.Evaluation:
    return ab.evaluate(net, digits.images, digits.labels)


def report(**changes: object) -> Report:
    rows = (
        Row("numpy", "cpu", "2.2", "highest", max_error=8e-7),
        Row("cupy", usable=False, reason="no GPU"),
        Row("jax", "cpu:0", "0.5", "highest", max_error=0.0),
        Row("torch", "cuda:0", "2.9", "highest", max_error=float("inf"), broken=("off",)),
        Row("dask", "cpu", "2025.1", "highest", broken=("TypeError: no",)),
        Row("numpy", "cpu", "2.2", "tf32", simulated=True, max_error=1e-3),
    )
    return Report("m", 10, "highest", {"highest": 0}, rows, {})


def drawn(ax: Axes) -> list[tuple[str, object]]:
    """Return every text that a reader sees in the figure, with its place in pixels."""
    figure = ax.get_figure()
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(mpl.text.Text) if t.get_visible() and t.get_text().strip()]
    hidden = {label for a in figure.axes if not a.axison for axis in (a.xaxis, a.yaxis) for label in axis.findobj()}
    seen = []
    for axes in figure.axes:  # tick labels outside the limits exist, but are not drawn
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            hidden |= {label for t in ticks if not low <= t.get_loc() <= high for label in (t.label1, t.label2)}
    for text in texts:
        if text not in hidden:
            seen.append((text.get_text(), text.get_window_extent()))
    return seen


def assert_readable(ax: Axes) -> None:
    """Fail where two texts overlap, or one leaves the figure."""
    seen = drawn(ax)
    assert seen
    whole = ax.get_figure().bbox
    for text, box in seen:
        assert box.x0 >= -1, f"{text!r} leaves the figure on the left"
        assert box.y0 >= -1, f"{text!r} leaves the figure below"
        assert box.x1 <= whole.x1 + 1, f"{text!r} leaves the figure on the right"
        assert box.y1 <= whole.y1 + 1, f"{text!r} leaves the figure above"
    for (a, one), (b, other) in itertools.combinations(seen, 2):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(wide, high) <= 1, f"{a!r} lies on {b!r}"


# -- Activations --------------------------------------------------------------------------------------


def test_an_activation_is_drawn_over_its_x(lib: Library) -> None:
    x = np.arange(-5.0, 5.0, 0.1, dtype=np.float32)
    ax = plots.plot_activation("sigmoid", lib.asarray(x))
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == len(x)]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), 1 / (1 + np.exp(-x.astype(np.float64))), atol=1e-6)
    assert ax.get_xlim() == (x[0], x[-1])
    assert ax.get_xlabel() == "x"


def test_the_step_stands_beside_the_sigmoid() -> None:
    ax = plots.plot_activation()
    step, sigmoid = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert set(step.get_ydata()) == {0.0, 1.0}
    assert step.get_xdata()[0] == -5.0
    assert step.get_xdata()[-1] == 5.0
    assert step.get_color() != sigmoid.get_color()
    assert step.get_linestyle() != sigmoid.get_linestyle()
    assert [t.get_text().partition(":")[0] for t in ax.get_legend().get_texts()] == ["step", "sigmoid"]
    assert_readable(ax)


@pytest.mark.parametrize("edge", [0.0, 0.037, -1.3])
def test_a_jump_is_drawn_upright_where_it_is(lib: Library, edge: float) -> None:
    def above(x: np.ndarray) -> np.ndarray:
        xp = ab.backends.array_namespace(x)
        return xp.astype(x > edge, x.dtype)

    ax = plots.plot_activation(above, lib.asarray(np.arange(-5.0, 5.0, 0.1, dtype=np.float32)))
    (line,) = [line for line in ax.lines if line.get_label() == "above"]
    x, y = line.get_data()
    assert len(x) == 102
    (place,) = np.flatnonzero(np.diff(y))
    assert x[place] == x[place + 1] == pytest.approx(edge, abs=1e-6)
    assert (np.diff(x) >= 0).all()


def test_a_steep_slope_stays_one_and_every_jump_is_upright() -> None:
    x, y = plots.plot_activation(np.floor, np.linspace(-4.95, 4.95, 100)).lines[2].get_data()
    jumps = np.flatnonzero(np.diff(y))
    np.testing.assert_array_equal(x[jumps], x[jumps + 1])
    np.testing.assert_allclose(x[jumps], range(-4, 5), atol=1e-12)
    x = np.linspace(-5.0, 5.0, 21)  # the whole slope lies between two points
    steep = plots.plot_activation(lambda x: np.clip(8 * x - 2, 0, 1), x).lines[2]
    np.testing.assert_array_equal(steep.get_xdata(), x)
    whole = np.arange(-3, 4)  # integers have no halves, so the points are joined
    np.testing.assert_array_equal(plots.plot_activation("step", whole).lines[2].get_xdata(), whole)


def test_curves_that_coincide_are_told_apart() -> None:
    def ours(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def theirs(x: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(x / 2)

    ax = plots.plot_activation([ours, theirs, "sigmoid", "relu"])
    first, second, third, apart = ax.lines[2:]
    assert first.get_linewidth() - 2 >= second.get_linewidth() >= third.get_linewidth() + 2
    assert third.get_linewidth() == apart.get_linewidth()
    assert len({line.get_linestyle() for line in (first, second, third)}) == 3
    assert_readable(ax)


def test_every_activation_with_a_curve_has_a_formula() -> None:
    curves = [name for name, f in ACTIVATIONS.items() if f.gives != "distribution"]
    assert set(ACTIVATIONS) - set(curves) == {"softmax", "log_softmax"}
    assert set(_activation.FORMULAS) == set(curves)
    ax = plots.plot_activation(curves)
    assert_readable(ax)
    lines = {(line.get_color(), line.get_linestyle()) for line in ax.lines if line.get_label()[0] != "_"}
    assert len(lines) == len(curves), "two curves look the same"


def test_functions_of_ones_own_are_drawn_by_their_name() -> None:
    def cost_in_dollars(x: np.ndarray) -> np.ndarray:
        return x**2

    cost_in_dollars.__name__ = "$cost$_{"  # no formula, and no error of the one who draws formulas
    ax = plots.plot_activation([cost_in_dollars, relu])
    ax.get_figure().canvas.draw()
    assert ax.get_legend().get_texts()[0].get_text() == r"\$cost\$_{"


def test_softmax_has_no_curve() -> None:
    with pytest.raises(ab.AnybackError, match="softmax has no curve: each output depends on all inputs"):
        plots.plot_activation(softmax)
    with pytest.raises(ab.AnybackError, match="unknown activation 'sigmod'; known"):
        plots.plot_activation(["step", "sigmod"])
    with pytest.raises(ab.AnybackError, match=r"expected shape \(3,\)"):
        plots.plot_activation(lambda x: x[:1], np.zeros(3))
    assert not plt.get_fignums(), "a mistake left an empty figure"


# -- Networks -----------------------------------------------------------------------------------------


def test_a_small_network_is_drawn_neuron_by_neuron(lib: Library) -> None:
    ax = plots.plot_network(toy(lib))
    neurons = [p for p in ax.patches if isinstance(p, Circle)]
    assert len(neurons) == (2 + 1) + (3 + 1) + (2 + 1) + 2
    weights = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(weights) == (2 + 1) * 3 + (3 + 1) * 2 + (2 + 1) * 2
    assert [t.get_text() for t in ax.texts].count("1") == 3
    assert "layer 1\nsigmoid" in [t.get_text() for t in ax.texts]
    assert_readable(ax)


def test_weights_show_their_sign_and_size() -> None:
    weight = np.asarray([[1.0, -4.0], [0.0, 2.0]])
    ax = plots.plot_network(Sequential((Linear(weight),)))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(lines) == 4
    assert not [t for t in ax.texts if t.get_text() == "1"], "there is no bias"
    width = {value: line.get_linewidth() for value, line in zip(weight.ravel(), lines, strict=True)}
    assert width[0.0] < width[1.0] < width[2.0] < width[-4.0]
    colours = [to_hex(line.get_color()) for line in lines]
    assert colours[0] == colours[3] != colours[1]
    assert colours[2] not in colours[:2]


def test_one_small_layer_has_room_for_the_legend() -> None:
    assert_readable(plots.plot_network(Sequential((Linear(np.eye(4, 3)),))))


def test_a_large_network_is_drawn_call_by_call(lib: Library) -> None:
    ax = plots.plot_network(ab.load_model("digits-mlp", backend=lib.backend))
    texts = [t.get_text() for t in ax.texts if t.get_text()]
    assert [t for t in texts if t in OPS] == [
        *("flatten", "pixels", "linear", "sigmoid", "linear", "sigmoid", "linear", "softmax")
    ]
    assert {"weight 64×50, bias 50", "weight 50×100, bias 100", "weight 100×10, bias 10", "largest 16"} <= set(texts)
    assert {"input 8×8", "64", "50", "100", "output 10"} <= set(texts)
    assert ax.get_title() == "8 calls: 9,360 parameters"
    assert len(boxes(ax)) == 8
    assert counts(ax) == [3250, 5100, 1010]
    assert_readable(ax)


def boxes(ax: Axes) -> list[Rectangle]:
    return [p for p in ax.patches if isinstance(p, Rectangle)]


def counts(ax: Axes) -> list[int]:
    """Return the numbers of parameters in the boxes, which stand at their right edges."""
    right = {round(box.get_x() + box.get_width() - 0.1, 6) for box in boxes(ax)}
    return [int(t.get_text().replace(",", "")) for t in ax.texts if round(t.get_position()[0], 6) in right]


def dense(rng: np.random.Generator, inputs: int, outputs: int) -> Linear:
    return Linear(rng.normal(size=(inputs, outputs)), rng.normal(size=outputs))


def convolution() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(
        *(Reshape((1, 28, 28)), Pixels(np.asarray(255.0)), Conv(rng.normal(size=(30, 1, 5, 5)), rng.normal(size=30))),
        *("relu", MaxPool((2, 2)), Flatten(), dense(rng, 4320, 100), "relu", dense(rng, 100, 10), "softmax"),
    )


def residual() -> Sequential:
    rng = np.random.default_rng(0)
    branch = Sequential(Conv(rng.normal(size=(4, 2, 3, 3)), padding=1), relu, BatchNorm(*rng.random((4, 4))))
    inner = Residual(Sequential(relu, Residual(Conv(rng.normal(size=(4, 4, 3, 3)), rng.normal(size=4), padding=1))))
    return Sequential(Reshape((2, 8, 8)), Residual(branch, Conv(rng.normal(size=(4, 2, 1, 1)))), inner, Flatten())


def doubled(x: np.ndarray) -> np.ndarray:
    return 2 * x


@dataclasses.dataclass(frozen=True, eq=False)
class Mine:
    """A layer of the user's, with arrays in a network that is in a dict."""

    parts: dict[str, Sequential]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.parts["first"](x)


class Twice(Sequential):
    """A network of the user's, which is no chain of its layers."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return super().__call__(super().__call__(x))


def users() -> Sequential:
    rng = np.random.default_rng(0)
    mine = Mine({"first": Sequential(dense(rng, 20, 5))})
    return Sequential(Flatten((8, 8)), dense(rng, 64, 20), BatchNorm(*rng.random((4, 20))), doubled, mine, "tanh")


def nested() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(Sequential(dense(rng, 3, 4), Sequential(relu, dense(rng, 4, 4))), Twice(dense(rng, 4, 4)), "tanh")


NETWORKS = {
    "convolution": (convolution, 10, 780 + 432_100 + 1_010),
    "residual": (residual, 11, 72 + 8 + 8 + 148),
    "users": (users, 6, 1_300 + 40 + 105),
    "nested": (nested, 5, 16 + 20 + 20),
    "one": (lambda: Sequential(relu), 1, 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_call_is_a_box_and_every_parameter_is_counted(name: str) -> None:
    make, calls, parameters = NETWORKS[name]
    net = make()
    assert len(net.calls) == calls
    ax = plots.plot_network(net)
    assert len(boxes(ax)) == calls
    assert sum(counts(ax)) == parameters
    assert ax.get_title() == f"{calls} call{'' if calls == 1 else 's'}: {parameters:,} parameters"
    assert_readable(ax)
    boxed = {t.get_text() for t in ax.texts}
    assert {call.name or call.op.name for call in net.calls} <= boxed
    figure = Figure((5, 4), layout="constrained")
    assert_readable(plots.plot_network(net, ax=figure.subplots()))


def test_the_values_of_a_convolution_network_have_their_shapes() -> None:
    texts = [t.get_text() for t in plots.plot_network(convolution()).texts]
    for said in ("input 1×28×28", "30×24×24", "30×12×12", "4320", "output 10", "weight 30×1×5×5, bias 30, groups 1"):
        assert said in texts
    assert "size 2×2, stride 2×2" in texts


def test_what_is_not_known_is_a_question_mark() -> None:
    ax = plots.plot_network(users())
    texts = [t.get_text() for t in ax.texts]
    assert texts.count("?") == 2
    assert "output ?" in texts
    assert {"doubled", "Mine", "array 20×5, array 5"} <= set(texts)
    dashed = [box.get_linestyle() in ("--", "dashed") for box in boxes(ax)]
    assert dashed == [False, False, False, True, True, False]


def test_a_residual_has_a_line_around_its_branch() -> None:
    rng = np.random.default_rng(0)
    ax = plots.plot_network(Sequential(dense(rng, 3, 3), Residual(Sequential(dense(rng, 3, 3), relu)), relu))
    first, _, _, add, last = boxes(ax)
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == 3]
    edge = first.get_x() + first.get_width()
    assert line.get_ydata()[0] < first.get_y(), "the line starts below the box whose value it takes"
    assert add.get_y() < line.get_ydata()[-1] < add.get_y() + add.get_height()
    assert max(line.get_xdata()) > edge
    assert last.get_y() < add.get_y()
    chain = plots.plot_network(Sequential(dense(rng, 30, 3), relu))
    assert not [line for line in chain.lines if len(line.get_xdata()) == 3]


def test_lines_around_boxes_do_not_lie_on_each_other() -> None:
    net = Sequential(relu, Residual(Sequential(relu, Residual(Sequential(relu, relu)), relu)), relu)
    around = [line for line in plots.plot_network(net).lines if len(line.get_xdata()) == 3]
    assert len(around) == 2
    assert len({max(line.get_xdata()) for line in around}) == 2


def test_a_network_that_computes_something_else_than_its_calls_is_one_box() -> None:
    rng = np.random.default_rng(0)
    ax = plots.plot_network(Twice(dense(rng, 4, 4), relu))
    assert (len(boxes(ax)), counts(ax)) == (1, [20])
    assert "Twice" in [t.get_text() for t in ax.texts]


def test_a_hundred_boxes_are_readable_and_more_are_announced() -> None:
    rng = np.random.default_rng(0)
    layers = [Residual(Sequential(dense(rng, 4, 4), relu)) for _ in range(33)]
    ax = plots.plot_network(Sequential(*layers, "softmax"), largest=0)
    assert len(boxes(ax)) == 100
    assert ax.get_title() == "100 calls: 660 parameters"
    assert_readable(ax)
    height, width = max(ax.get_figure().get_size_inches()), min(ax.get_figure().get_size_inches())
    assert height < 30
    assert width > 5
    more = plots.plot_network(Sequential(*layers, relu, "softmax"))
    assert len(boxes(more)) == 100
    assert more.get_title() == "the first 100 of 101 calls; 660 parameters in all"


def test_names_of_any_length_stay_in_their_boxes() -> None:
    def fun(x: np.ndarray) -> np.ndarray:
        return x

    fun.__name__ = "W$_{" * 40
    ax = plots.plot_network(Sequential(dense(np.random.default_rng(0), 20, 123_456), fun))
    drawn(ax)
    box = boxes(ax)[1].get_window_extent()
    (text,) = [t for t in ax.texts if t.get_text().startswith("W$")]
    assert text.get_text().endswith("…")
    assert box.x0 < text.get_window_extent().x0
    assert text.get_window_extent().x1 < box.x1
    assert_readable(ax)


def test_an_op_of_ones_own_is_drawn_by_its_facts() -> None:
    @op(lambda x, weight: x if x is None else (x[0], weight.shape[1]), rows=Rows.PRODUCT, products=True)
    def strange(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x @ weight

    @dataclasses.dataclass(frozen=True, eq=False)
    class Strange:
        weight: np.ndarray

        def calls(self, given: int, into: Builder) -> int:
            return into.call(strange, given, into.array(self.weight))

    net = Sequential(Strange(np.ones((20, 30))), relu)
    ax = plots.plot_network(net)
    assert [t.get_text() for t in ax.texts if t.get_text()][:3] == ["input ?", "strange", "weight 20×30"]
    products, others = (box.get_edgecolor() for box in boxes(ax))
    assert products != others
    batch = plots.plot_batch(net, 7)
    assert [t.get_text() for t in batch.texts if "×" in t.get_text()] == ["20×30"]
    assert_readable(batch)


@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_a_batch_is_drawn_with_its_shapes(net: Sequential, n: int) -> None:
    ax = plots.plot_batch(net, n)
    shapes = [t.get_text() for t in ax.texts if "×" in t.get_text()]
    assert shapes == [
        *(f"{n}×64", "64×50", f"{n}×50"),
        *(f"{n}×50", "50×100", f"{n}×100"),
        *(f"{n}×100", "100×10", f"{n}×10"),
    ]
    assert "+ b3, softmax" in [t.get_text() for t in ax.texts]
    assert_readable(ax)


def test_sides_of_one_colour_are_equally_long(net: Sequential) -> None:
    ax = plots.plot_batch(net, 100)
    sides = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(sides) == 3 * 3 * 2
    for i in range(0, len(sides), 6):  # a line of the picture
        lengths: dict[str, set[float]] = {}
        for side in sides[i : i + 6]:
            length = np.hypot(np.ptp(side.get_xdata()), np.ptp(side.get_ydata()))
            lengths.setdefault(side.get_color(), set()).add(round(float(length), 9))
        assert [len(found) for found in lengths.values()] == [1, 1, 1]


def test_a_convolution_is_the_product_of_matrices_that_it_is() -> None:
    ax = plots.plot_batch(convolution(), 7)
    shapes = [t.get_text() for t in ax.texts if "×" in t.get_text()]
    assert shapes == [
        *("7×1×28×28\nas 4032×25", "30×1×5×5\nas 25×30", "7×30×24×24\nas 4032×30"),
        *("7×4320", "4320×100", "7×100"),
        *("7×100", "100×10", "7×10"),
    ]
    texts = [t.get_text() for t in ax.texts]
    assert {"+ b1, relu", "then\nmax_pool\nflatten", "first\nreshape\npixels", "+ b3, softmax"} <= set(texts)
    assert_readable(ax)


@pytest.mark.parametrize("name", ["residual", "users", "nested"])
def test_a_batch_has_a_line_for_each_product(name: str) -> None:
    net = NETWORKS[name][0]()
    assert_readable(plots.plot_batch(net, 5, ax=Figure((5, 4), layout="constrained").subplots()))
    ax = plots.plot_batch(net, 5)
    names = [t.get_text() for t in ax.texts if t.get_text()[:1] == "W"]
    assert names == [f"W{i + 1}" for i in range(sum(call.op.products for call in net.calls))]
    assert_readable(ax)


def test_a_product_takes_the_value_that_its_call_takes() -> None:
    # Of a residual, both ways begin at the input.
    ax = plots.plot_batch(residual(), 5)
    values = [t.get_text() for t in ax.texts if t.get_text()[:1] in {"X", "Z", "Y"}]
    assert values == ["X", "Z1", "X", "Z2", "Z2", "Y"]


def test_more_products_than_are_drawn_are_announced() -> None:
    rng = np.random.default_rng(0)
    ax = plots.plot_batch(Sequential(*[dense(rng, 2, 2) for _ in range(21)]))
    assert ax.get_title().startswith("the first 20 of 21 products; sides of")
    assert_readable(ax)


def test_a_network_without_products_has_no_batch_to_draw() -> None:
    with pytest.raises(ab.DataError, match="expected a network with a product, such as a linear layer"):
        plots.plot_batch(Sequential(relu))
    with pytest.raises(ab.DataError, match="expected a network with a product, such as a linear layer"):
        plots.plot_weights(Sequential(relu))
    with pytest.raises(ab.AnybackError, match="n: expected at least 1"):
        plots.plot_batch(Sequential((Linear(np.ones((2, 2))),)), 0)
    for plot in (plots.plot_network, plots.plot_batch, plots.plot_weights):
        with pytest.raises(ab.AnybackError, match="expected a network, found list"):
            plot([relu])  # type: ignore[operator]
    assert not plt.get_fignums()


# -- Images -------------------------------------------------------------------------------------------


def test_images_stand_over_their_labels(lib: Library, digits: ab.datasets.Dataset) -> None:
    images = lib.asarray(digits.images[:12], "uint8")
    ax = plots.plot_images(images, lib.asarray(digits.labels[:12], "uint8"), columns=5)
    assert len(ax.images) == 12
    for shown, image in zip(ax.images, digits.images, strict=False):
        np.testing.assert_array_equal(shown.get_array(), image)
    assert [int(t.get_text()) for t in ax.texts] == digits.labels[:12].tolist()
    assert ax.get_title() == ""
    assert_readable(ax)


def test_wrong_answers_are_framed_and_say_both(digits: ab.datasets.Dataset) -> None:
    read = digits.labels[:30].copy()
    read[[3, 29]] = (read[[3, 29]] + 1) % 10
    ax = plots.plot_images(digits.images[:30], digits.labels[:30], read)
    assert len(ax.patches) == 2
    assert ax.texts[3].get_text() == f"read {read[3]}\nis {digits.labels[3]}"
    left, right = ax.texts[3].get_position()[0] - 0.5, ax.texts[3].get_position()[0] + 0.5
    assert left <= ax.patches[0].get_x() <= right, "the frame is around another image"
    assert_readable(ax)


def test_more_images_than_are_drawn_are_announced(digits: ab.datasets.Dataset) -> None:
    ax = plots.plot_images(digits.images, digits.labels, digits.labels)
    assert len(ax.images) == 50
    assert ax.get_title() == "the first 50 of 500 images"
    assert_readable(ax)
    flat = plots.plot_images(digits.images.reshape(500, 64), limit=3)
    np.testing.assert_array_equal(flat.images[2].get_array(), digits.images[2])


def test_images_fit_an_axes_that_is_given(digits: ab.datasets.Dataset) -> None:
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    wrong = (digits.labels[:20] + 1) % 10
    assert plots.plot_images(digits.images[:20], digits.labels[:20], wrong, columns=5, ax=left) is left
    plots.plot_activation(ax=right)
    assert_readable(left)


def test_no_images_are_an_empty_picture() -> None:
    assert len(plots.plot_images(np.zeros((0, 8, 8)), []).images) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.zeros((28, 28)),), r"expected images of shape \(n, height, width\).*found \(28, 28\); of one image pass"),
        ((np.zeros((2, 8, 8, 3)),), r"found \(2, 8, 8, 3\)"),
        ((np.zeros((2, 0, 8)),), r"found \(2, 0, 8\)"),
        ((np.zeros((2, 8, 8)), [1]), r"labels: expected shape \(2,\), one for each image, found \(1,\)"),
        ((np.zeros((2, 8, 8)), [1, 2], [[1, 2]]), r"predictions: expected shape \(2,\)"),
    ],
)
def test_what_are_no_images_is_refused(args: tuple[object, ...], message: str) -> None:
    with pytest.raises(ab.DataError, match=message):
        plots.plot_images(*args)
    assert not plt.get_fignums()


def test_probabilities_stand_beside_their_image(lib: Library, digits: ab.datasets.Dataset) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    image = lib.asarray(digits.images[0], "uint8")
    expected = ab.to_numpy(net(image))
    ax = plots.plot_probabilities(image, net(image), digits.labels[0])
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], expected, rtol=1e-6)
    assert [t.get_text() for t in ax.get_xticklabels()] == list("0123456789")
    bars, beside = ax.get_figure().axes
    assert bars is ax
    np.testing.assert_array_equal(beside.images[0].get_array(), digits.images[0])
    assert_readable(ax)
    assert beside.get_window_extent().x0 >= 0
    assert beside.get_window_extent().x1 < ax.yaxis.get_tightbbox().x0


def test_a_wrong_answer_is_marked_among_the_probabilities() -> None:
    y = np.asarray([0.2, 0.7, 0.1])
    right, wrong = (plots.plot_probabilities(np.eye(8), y, label) for label in (1, 0))
    assert right.patches[1].get_facecolor() != wrong.patches[1].get_facecolor()
    assert wrong.patches[1].get_hatch()
    assert wrong.get_title() == "read 1 with probability 0.700; it is 0"
    assert_readable(wrong)
    even = plots.plot_probabilities(np.eye(8), np.full(10, 0.1))  # all of them have a text
    assert_readable(even)


def test_one_output_is_the_probability_of_the_second_class() -> None:
    low, high = (plots.plot_probabilities(np.eye(8), [p], 1) for p in (0.2, 0.7))
    np.testing.assert_allclose([bar.get_height() for bar in low.patches], [0.8, 0.2])
    assert low.get_title() == "read 0 with probability 0.800; it is 1"
    assert high.get_title() == "read 1 with probability 0.700; it is 1"
    assert_readable(high)


def test_numbers_have_no_probabilities_and_no_confusion() -> None:
    with pytest.raises(ab.DataError, match="outputs of this network are numbers"):
        plots.plot_probabilities(np.eye(8), [0.7], task=task_of("", 1))
    for net, labels in (
        (Sequential((Linear(np.ones((2, 1))),)), np.ones(3)),
        (Sequential((Linear(np.ones((2, 4))), sigmoid)), np.ones((3, 4), dtype=int)),
    ):
        with pytest.raises(ab.DataError, match="expected an evaluation of classes, found one of numbers or of several"):
            plots.plot_confusion(ab.evaluate(net, np.ones((3, 2)), labels))


def test_an_output_that_is_nan_is_read_as_nothing() -> None:
    ax = plots.plot_probabilities(np.eye(8), [0.2, np.nan, 0.8], 1)
    assert ax.get_title() == "nothing read: nan; it is 1"
    assert len({bar.get_facecolor() for bar in ax.patches}) == 1


def test_probabilities_keep_to_the_place_of_their_axes() -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax in axes.flat:
        assert plots.plot_probabilities(np.eye(8), np.full(10, 0.1), 3, ax=ax) is ax
    assert_readable(axes[0, 0])
    assert len(figure.axes) == 8
    by_hand = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    plots.plot_probabilities(np.eye(8), np.full(10, 0.1), ax=by_hand)
    assert by_hand.get_position().x0 > by_hand.get_figure().axes[1].get_position().x1


def test_probabilities_are_of_one_image() -> None:
    with pytest.raises(
        ab.DataError, match=r"probabilities: expected shape \(classes,\) for one image, found \(2, 10\)"
    ):
        plots.plot_probabilities(np.eye(8), np.zeros((2, 10)))
    with pytest.raises(ab.DataError, match=r"expected an image of shape .*found \(2, 8, 8\)"):
        plots.plot_probabilities(np.zeros((2, 8, 8)), np.zeros(10))


def test_weights_are_images_on_one_scale(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    weight = next(ab.to_numpy(x) for x in net.arrays if x.ndim == 2)
    ax = plots.plot_weights(net, limit=12)
    assert len(ax.images) == 12
    np.testing.assert_array_equal(ax.images[7].get_array(), weight[:, 7].reshape(8, 8))
    assert {image.get_clim() for image in ax.images} == {(-abs(weight).max(), abs(weight).max())}
    assert ax.get_title() == "W1: the weights of the first 12 of 50 neurons"
    assert_readable(ax)


def test_weights_that_are_no_image_are_refused(net: Sequential) -> None:
    with pytest.raises(ab.DataError, match=r"layer: expected 0 to 2"):
        plots.plot_weights(net, layer=3)
    with pytest.raises(ab.DataError, match=r"expected images of shape .*found \(100, 50\)"):
        plots.plot_weights(net, layer=1)
    assert len(plots.plot_weights(net, layer=2).images) == 10  # 100 inputs are 10 × 10


def test_the_filters_of_a_convolution_are_images() -> None:
    rng = np.random.default_rng(0)
    weight, second = rng.normal(size=(6, 1, 3, 3)), rng.normal(size=(4, 6, 2, 3))
    net = Sequential(Reshape((1, 8, 8)), Conv(weight), relu, Conv(second))
    ax = plots.plot_weights(net)
    assert len(ax.images) == 6
    np.testing.assert_array_equal(ax.images[5].get_array(), weight[5, 0])
    assert ax.get_title() == "W1: the weights of 6 filters"
    assert_readable(ax)
    ax = plots.plot_weights(net, layer=1, columns=6)
    assert ax.get_title() == "W2: the weights of 24 channels of filters"
    np.testing.assert_array_equal(ax.images[6 + 2].get_array(), second[1, 2])
    line = plots.plot_weights(Sequential(Conv(rng.normal(size=(5, 2, 3)))))
    assert line.images[0].get_array().shape == (2, 3)


def test_neurons_look_for_images_of_the_networks_shape() -> None:
    weight = np.random.default_rng(0).normal(size=(12, 5))
    for first in (Flatten((3, 4)), Sequential(Reshape((1, 3, 4)), Flatten())):
        ax = plots.plot_weights(Sequential(first, Linear(weight)))
        np.testing.assert_array_equal(ax.images[4].get_array(), weight[:, 4].reshape(3, 4))


# -- Results ------------------------------------------------------------------------------------------


def test_the_confusion_shows_every_count(result: ab.Evaluation) -> None:
    ax = plots.plot_confusion(result)
    shown = np.zeros((10, 10), dtype=int)
    for text in ax.texts:
        column, row = text.get_position()
        shown[int(row), int(column)] = int(text.get_text())
    np.testing.assert_array_equal(shown, result.confusion)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("read as", "true class")
    assert ax.get_title() == f"accuracy {result.accuracy:.4f}: {result.correct} of 500"
    assert_readable(ax)


def test_large_counts_fit_their_cells() -> None:
    assert_readable(plots.plot_confusion(np.full((10, 10), 9999)))
    with pytest.raises(ab.DataError, match=r"expected counts of shape \(classes, classes\), found \(2, 3\)"):
        plots.plot_confusion(np.zeros((2, 3), dtype=int))


def test_many_classes_are_drawn_in_colours_alone() -> None:
    ax = plots.plot_confusion(np.eye(100, dtype=int))
    assert not ax.texts
    assert max(ax.get_figure().get_size_inches()) <= 10
    assert_readable(ax)
    assert_readable(plots.plot_confusion(np.full((26, 26), 9999)))


def test_parity_tells_measured_simulated_and_broken_apart() -> None:
    ax = plots.plot_parity(report())
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        *("numpy:cpu", "cupy", "jax:cpu:0", "torch:cuda:0", "dask:cpu", "numpy:cpu, tf32"),
    ]
    marks = {line.get_label(): line for line in ax.lines if line.get_label()[0] != "_"}
    assert list(marks) == ["measured", "simulated", "breaks the contract"]
    assert len({line.get_marker() for line in marks.values()}) == 3
    np.testing.assert_array_equal(marks["measured"].get_ydata(), [0, 2])
    assert marks["measured"].get_xdata()[0] == 8e-7
    np.testing.assert_array_equal(marks["simulated"].get_xdata(), [1e-3])
    np.testing.assert_array_equal(marks["breaks the contract"].get_ydata(), [3, 4])
    low, high = ax.get_xlim()
    for line in marks.values():
        assert np.all((low < np.asarray(line.get_xdata())) & (np.asarray(line.get_xdata()) < high))
    assert [line for line in ax.lines if list(line.get_xdata()) == [TOLERANCE, TOLERANCE]]
    said = [t.get_text() for t in ax.texts if t.get_text() and "tolerance" not in t.get_text()]
    below = "torch:cuda:0: off\ndask:cpu: TypeError: no"
    assert said == ["not usable here", "equal", "not a number", "see below", below]
    assert_readable(ax)


@pytest.mark.parametrize("given", [True, False])
def test_why_a_row_is_broken_is_said_in_the_picture(given: bool) -> None:
    faults = ("3 labels differ beyond rounding, first in row 17", "the bits of 500 rows depend on how the work is cut")
    long = ("ValueError: costs $1 and $2\n" + 60 * "more and more ",)
    rows = [Row("jax", "cpu:0", max_error=3e-4, broken=faults), Row("torch", "cpu", broken=long)]
    ax = Figure((6, 4), layout="constrained").subplots() if given else None
    ax = plots.plot_parity(Report("m", 10, "highest", {"highest": 0}, (*rows, Row("numpy", max_error=1e-7)), {}), ax=ax)
    text = ax.texts[-1].get_text()
    assert " ".join(text.split()).startswith("jax:cpu:0: " + "; ".join(faults) + " torch:cpu: ValueError: costs $1 and")
    assert text.endswith(" …")
    assert len(text.splitlines()) <= 4
    assert_readable(ax)


def test_a_library_that_is_asked_for_and_missing_is_marked() -> None:
    row = Row("jax", usable=False, reason="not installed", broken=("cannot be used",))
    ax = plots.plot_parity(Report("m", 10, "highest", {"highest": 0}, (row,), {}))
    assert ax.texts[-1].get_text() == "jax: not installed"
    (text,) = [t for t in ax.texts if t.get_text() == "cannot be used"]
    other = next(t for t in plots.plot_parity(report()).texts if t.get_text() == "not usable here")
    assert text.get_color() != other.get_color()


def test_a_report_without_rows_is_drawn() -> None:
    ax = plots.plot_parity(Report("m", 0, "highest", {}, (), {}))
    ax.get_figure().canvas.draw()
    assert ax.get_yticklabels() == []


# -- Manners ------------------------------------------------------------------------------------------


def every_plot(net: Sequential, digits: ab.datasets.Dataset, result: ab.Evaluation) -> dict[str, object]:
    return {
        "activation": lambda ax: plots.plot_activation(ax=ax),
        "network": lambda ax: plots.plot_network(net, ax=ax),
        "images": lambda ax: plots.plot_images(digits.images[:9], ax=ax),
        "confusion": lambda ax: plots.plot_confusion(result, ax=ax),
        "probabilities": lambda ax: plots.plot_probabilities(digits.images[0], net(digits.images[0]), ax=ax),
        "weights": lambda ax: plots.plot_weights(net, ax=ax),
        "batch": lambda ax: plots.plot_batch(net, ax=ax),
        "parity": lambda ax: plots.plot_parity(report(), ax=ax),
    }


def test_each_draws_where_it_is_told_and_nowhere_else(
    net: Sequential, digits: ab.datasets.Dataset, result: ab.Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(*args: object, **kwargs: object) -> None:
        raise AssertionError("a plot opened a window")

    monkeypatch.setattr(plt, "show", shown)
    before = dict(mpl.rcParams)
    for name, plot in every_plot(net, digits, result).items():
        ax = Figure(layout="constrained").subplots()
        assert plot(ax) is ax, name  # type: ignore[operator]
        assert ax.has_data(), name
        assert not plt.get_fignums(), f"{name} made a figure although it was given an Axes"
        own = plot(None)  # type: ignore[operator]
        assert isinstance(own, Axes)
        assert plt.get_fignums(), name
        plt.close("all")
    assert dict(mpl.rcParams) == before, "settings of matplotlib were changed"


def test_what_is_written_on_light_shapes_is_dark_on_dark_pages_too(net: Sequential, result: ab.Evaluation) -> None:
    rng = np.random.default_rng(0)
    small = Sequential(dense(rng, 2, 3), sigmoid)
    with plt.style.context("dark_background"):
        for ax in (plots.plot_network(small), plots.plot_confusion(result), plots.plot_batch(net)):
            shapes = [patch for patch in ax.patches if isinstance(patch, Circle | Rectangle)]
            inside = [
                t for t in ax.texts if t.get_va() == "center" and t.get_text().strip("$·").replace("_", "").isalnum()
            ]
            assert inside
            assert shapes or ax.images
            for text in inside:
                assert max(mpl.colors.to_rgb(text.get_color())) < 0.5, text.get_text()


def test_a_file_keeps_its_light_ground_whatever_the_settings_say(tmp_path: Path) -> None:
    with mpl.rc_context({"savefig.transparent": True, "savefig.facecolor": "black"}):
        save(plots.plot_activation(), tmp_path / "a.png")
    pixels = plt.imread(tmp_path / "a.png")
    assert (pixels[..., 3] == 1).all()
    np.testing.assert_array_equal(pixels[0, 0], [1, 1, 1, 1])


def test_plots_are_loaded_when_they_are_used_and_matplotlib_when_one_is_drawn() -> None:
    code = """
import sys
import anyback as ab
loaded = lambda: sorted(m for m in sys.modules if m == "matplotlib" or m.startswith("anyback.plots"))
assert loaded() == [], loaded()
assert "plots" in dir(ab) and loaded() == []
assert ab.plots.plot_network and "matplotlib" not in loaded()
from anyback import plots
assert plots is ab.plots
import pydoc
assert "plot_network(net" in pydoc.plain(pydoc.render_doc(ab.plots))
try:
    ab.plot
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'anyback' has no attribute 'plot'\n"


def test_without_matplotlib_one_line_says_what_installs_it() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
import anyback as ab
from anyback import plots
print(plots.Image(np.eye(8)))
assert plots.Image(np.eye(8))._repr_png_()
try:
    plots.plot_activation()
except ab.AnybackError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "█" in done.stdout
    assert done.stdout.endswith("plots need matplotlib, which is not installed: pip install 'anyback[plot]'\n")
