"""The score by task: classes, several labels, and numbers, which are never scored as classes."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback.activations import identity, relu, sigmoid, softmax
from anyback.evaluation import LabelsEvaluation, NumbersEvaluation, evaluate
from anyback.layers import Linear, Sequential


def network(lib: Library | None, outputs: int, last: Callable[..., object]) -> Sequential:
    rng = np.random.default_rng(outputs)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((6, 5), (5, outputs))]
    w1, w2 = weights if lib is None else map(lib.asarray, weights)
    return Sequential((Linear(w1), relu, Linear(w2), last))


X = np.random.default_rng(7).normal(size=(700, 6)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [None, 100])
def test_numbers_are_scored_as_numbers(lib: Library, batch_size: int | None) -> None:
    net = network(lib, 1, identity)
    y = ab.to_numpy(ab.predict(net, X))[:, 0].astype(np.float64)
    truth = y + np.random.default_rng(0).normal(size=len(y))
    result = ab.evaluate(net, X, truth, batch_size)
    assert isinstance(result, NumbersEvaluation)
    np.testing.assert_array_equal(result.predictions, y)
    np.testing.assert_array_equal(result.labels, truth)
    assert result.mean_squared_error == pytest.approx(np.sum((y - truth) ** 2) / len(y))
    assert result.mean_absolute_error == pytest.approx(np.sum(np.abs(y - truth)) / len(y))
    residual, spread = np.sum((y - truth) ** 2), np.sum((truth - truth.mean()) ** 2)
    assert result.r_squared == pytest.approx(1 - residual / spread)
    assert (result.total, result.nan_rows, result.backend) == (700, 0, str(net.backend))
    assert not hasattr(result, "accuracy")


@pytest.mark.once
def test_true_numbers_give_no_error() -> None:
    net = network(None, 1, identity)
    result = evaluate(net, X, ab.predict(net, X))
    assert isinstance(result, NumbersEvaluation)
    assert (result.mean_squared_error, result.mean_absolute_error, result.r_squared) == (0.0, 0.0, 1.0)
    mean = evaluate(net, X, np.full(700, 3))
    assert isinstance(mean, NumbersEvaluation)
    assert np.isnan(mean.r_squared)
    assert mean.mean_squared_error > 0


@pytest.mark.once
def test_integers_are_numbers_where_the_network_gives_numbers() -> None:
    result = evaluate(Sequential((Linear(np.ones((1, 1))),)), [[0.0], [1.0], [4.0]], [0, 1, 1])
    assert isinstance(result, NumbersEvaluation)
    assert result.mean_squared_error == 3.0


@pytest.mark.once
def test_numbers_of_any_size_and_none_at_all_are_scored() -> None:
    net = Sequential((Linear(np.ones((1, 1))),))
    huge = evaluate(net, [[1e300], [-1e300]], [-1e300, 1e300])
    nothing = evaluate(net, np.zeros((0, 1)), [])
    one = evaluate(net, [2.0], 1.5)
    for result in (huge, nothing, one):
        assert isinstance(result, NumbersEvaluation)
        json.dumps(result.to_dict())
        assert "R squared" in result._repr_html_()
    assert huge.mean_squared_error == np.inf
    assert np.isnan(nothing.mean_squared_error)
    assert one.mean_absolute_error == 0.5


@pytest.mark.once
def test_an_output_that_is_nan_is_warned_of_and_so_are_the_errors() -> None:
    x = np.ones((5, 1))
    x[2] = np.nan
    with pytest.warns(UserWarning, match="nan in the output of 1 of 5 rows; so are the errors"):
        result = evaluate(Sequential((Linear(np.ones((1, 1))),)), x, np.ones(5))
    assert result.nan_rows == 1
    assert np.isnan(result.mean_squared_error)


@pytest.mark.once
@pytest.mark.parametrize("labels", [["a"] * 700, np.full(700, np.nan), np.zeros((700, 2)), np.zeros(9), None])
def test_what_cannot_be_numbers_is_a_data_error(labels: object) -> None:
    with pytest.raises(ab.DataError, match=r"^labels: "):
        evaluate(network(None, 1, identity), X, labels)


@pytest.mark.parametrize("batch_size", [None, 100])
def test_several_labels_are_scored_each_and_all(lib: Library, batch_size: int | None) -> None:
    net = network(lib, 3, sigmoid)
    given = (ab.to_numpy(ab.predict(net, X)) > 0.5).astype(np.int64)
    truth = given.copy()
    truth[:70, 1] ^= 1
    truth[:35, 2] ^= 1
    result = ab.evaluate(net, X, truth, batch_size)
    assert isinstance(result, LabelsEvaluation)
    np.testing.assert_allclose(result.label_accuracy, [1.0, 0.9, 0.95])
    assert (result.correct, result.total, result.accuracy) == (630, 700, 0.9)
    np.testing.assert_array_equal(np.flatnonzero(~result.right), np.arange(70))


@pytest.mark.once
def test_a_network_of_several_labels_given_classes_reads_the_largest() -> None:
    net = network(None, 3, sigmoid)
    largest = np.argmax(ab.predict(net, X), axis=1)
    result = evaluate(net, X, largest)
    assert isinstance(result, ab.Evaluation)
    assert (result.accuracy, result.classes) == (1.0, 3)
    np.testing.assert_array_equal(np.diag(result.confusion), np.bincount(largest, minlength=3))


@pytest.mark.once
def test_a_label_whose_output_is_nan_is_wrong() -> None:
    net = Sequential((Linear(np.eye(2)), sigmoid))
    with pytest.warns(UserWarning, match="nan in the output of 1 of 2 rows; they count as wrong"):
        result = evaluate(net, [[1.0, -1.0], [np.nan, 1.0]], [[1, 0], [0, 1]])
    assert isinstance(result, LabelsEvaluation)
    assert (result.correct, result.nan_rows) == (1, 1)
    nothing = evaluate(net, np.zeros((0, 2)), np.zeros((0, 2), dtype=int))
    assert isinstance(nothing, LabelsEvaluation)
    assert np.isnan(nothing.label_accuracy).all()
    assert "nan" in nothing._repr_html_()


@pytest.mark.once
def test_several_plain_outputs_are_classes() -> None:
    net = network(None, 4, identity)
    labels = np.argmax(ab.predict(net, X), axis=1)
    assert evaluate(net, X, labels).accuracy == 1.0


@pytest.mark.once
def test_the_task_is_seen_where_a_function_of_ones_own_hides_the_number_of_outputs() -> None:
    net = Sequential((Linear(np.ones((6, 4))), lambda x: x[:, :1]))
    assert net.width is None
    assert isinstance(evaluate(net, X, np.zeros(700)), NumbersEvaluation)


@pytest.mark.once
def test_wrong_labels_stop_the_work_at_its_first_batch() -> None:
    done: list[int] = []
    net = network(None, 4, softmax)
    x = np.zeros((100_000, 6), dtype=np.float32)
    with pytest.raises(ab.DataError, match="labels: expected 0 to 3"):
        evaluate(net, x, np.full(len(x), 9), 1, progress=lambda count, total: done.append(count), workers=1)
    assert sum(done) < len(x) // 2


@pytest.mark.once
def test_results_show_themselves() -> None:
    numbers = evaluate(network(None, 1, identity), X, np.zeros(700))
    assert "NumbersEvaluation(mean_squared_error=" in repr(numbers)
    assert "<td" in numbers._repr_html_()
    labels = evaluate(network(None, 30, sigmoid), X, np.zeros((700, 30), dtype=int))
    assert "LabelsEvaluation(accuracy=" in repr(labels)
    assert "label 25" in labels._repr_html_()
    assert list(labels.score())[-1] == "more labels"
    assert "label 26" not in labels._repr_html_()
    json.dumps([numbers.to_dict(), labels.to_dict()])
