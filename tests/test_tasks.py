"""What outputs mean: labels, margins and true labels, by task, on every library."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback.tasks import Task, task_of

GIVES = ("", "distribution", "probabilities")


@pytest.mark.parametrize(
    ("gives", "outputs", "name", "classes"),
    [
        ("distribution", 10, "classes", 10),
        ("distribution", None, "classes", None),
        ("", 10, "classes", 10),
        ("", None, "classes", None),
        ("", 1, "numbers", 0),
        ("probabilities", 1, "two classes", 2),
        ("probabilities", 3, "several labels", 2),
        ("probabilities", None, "several labels", 2),
    ],
)
def test_what_an_operation_gives_and_how_many_outputs_say_the_task(
    gives: str, outputs: int | None, name: str, classes: int | None
) -> None:
    task = task_of(gives, outputs)
    assert (task.name, task.outputs, task.classes) == (name, outputs, classes)


CASES: list[tuple[Task, list[list[float]], object]] = [
    (task_of("", 3), [[1, 5, 2], [np.nan, 1, 2], [-3, -2, -1], [2, 2, 1]], [1, -1, 2, 0]),
    (task_of("distribution", None), [[-1, -5], [-np.inf, 0]], [0, 1]),
    (task_of("probabilities", 1), [[0.5], [0.5000001], [0.0], [np.nan], [1.0]], [0, 1, 0, -1, 1]),
    (task_of("probabilities", 2), [[0.6, 0.9], [np.nan, 0.2], [0.5, 0.51]], [[1, 1], [-1, 0], [0, 1]]),
    (task_of("probabilities", 2).one_each, [[0.6, 0.9], [np.nan, 0.2], [0.5, 0.4]], [1, -1, 0]),
]


@pytest.mark.parametrize(("task", "outputs", "labels"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_labels_are_read_on_every_library(task: Task, outputs: list[list[float]], labels: object, lib: Library) -> None:
    found = task.labels(lib.asarray(np.asarray(outputs, dtype=np.float32)))
    assert isinstance(found, np.ndarray)
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, labels)
    none = task.labels(lib.asarray(np.zeros((0, len(outputs[0])), dtype=np.float32)))
    assert none.shape == (0, *found.shape[1:])


@pytest.mark.once
def test_numbers_have_no_labels() -> None:
    for call in (task_of("", 1).labels, task_of("", 1).margins):
        with pytest.raises(ab.DataError, match="numbers, which stand for no labels"):
            call(np.zeros((2, 1)))


@pytest.mark.once
@pytest.mark.parametrize("gives", GIVES)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 0), (4, 5)])
def test_outputs_of_another_shape_are_refused(gives: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ab.DataError, match=r"outputs: expected shape \(n, 2\), found"):
        task_of(gives, 2).labels(np.zeros(shape))


@pytest.mark.once
def test_less_than_the_margin_changes_no_label_and_more_may() -> None:
    rng = np.random.default_rng(0)
    for task in (task_of("distribution", 4), task_of("probabilities", 1), task_of("probabilities", 4)):
        y = rng.random((200, task.outputs or 0))
        margins, labels = task.margins(y), task.labels(y)
        assert margins.shape == (200,)
        # Two outputs that move towards each other each go half of the way; one goes the whole way to a threshold.
        reach = margins / 2 if task.threshold is None else margins
        for sign in rng.choice([-1.0, 1.0], size=(20, *y.shape)):
            np.testing.assert_array_equal(task.labels(y + 0.99 * sign * reach[:, None]), labels)
    near = np.asarray([[0.5, 0.3], [0.39, 0.41]])  # each moved by more than half of the margin of 0.2
    assert task_of("distribution", 2).labels(near).tolist() == [0, 1]


@pytest.mark.once
def test_one_output_is_the_probability_of_class_1() -> None:
    np.testing.assert_allclose(task_of("probabilities", 1).by_class(np.asarray([[0.25]])), [[0.75, 0.25]])
    several = np.asarray([[0.25, 0.5]])
    assert task_of("probabilities", 2).by_class(several) is several


@pytest.mark.parametrize(
    ("task", "labels", "kind"),
    [
        (task_of("", 4), [0, 3, 1], "i"),
        (task_of("probabilities", 1), [0, 1, 1], "i"),
        (task_of("probabilities", 4), [0, 3, 1], "i"),
        (task_of("probabilities", 4), [[0, 1, 1, 0]] * 3, "i"),
        (task_of("", 1), [-3, 1000, 1], "f"),
        (task_of("", 1), [-3.5, 1e30, 1.0], "f"),
    ],
)
def test_true_labels_of_any_library_are_taken(task: Task, labels: list[object], kind: str, lib: Library) -> None:
    sent = np.asarray(labels)
    truth = task.checked(lib.asarray(sent, {"i": "int32", "f": "float32"}[sent.dtype.kind]), 3)
    assert truth.dtype == {"i": np.int64, "f": np.float64}[kind]
    np.testing.assert_allclose(truth, labels, rtol=1e-6)


@pytest.mark.once
def test_the_labels_of_one_sample_may_lack_their_first_axis() -> None:
    assert task_of("", 4).checked(3, 1, single=True).tolist() == [3]
    assert task_of("", 1).checked(2.5, 1, single=True).tolist() == [2.5]
    assert task_of("", 1).checked([[2.5]], 1).tolist() == [2.5]
    assert task_of("probabilities", 3).checked([0, 1, 1], 1, single=True).tolist() == [[0, 1, 1]]
    assert task_of("probabilities", 3).checked(2, 1, single=True).tolist() == [2]


@pytest.mark.once
@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (task_of("", 4), [0, 4, 1], "expected 0 to 3, found 4"),
        (task_of("", 4), [0, -1, 1], "expected 0 or above, found -1"),
        (task_of("", 4), [0.0, 1.0, 1.0], "expected integers, found float64"),
        (task_of("", 4), np.eye(4, dtype=int)[:3], r"of one-hot labels pass labels.argmax\(1\)"),
        (task_of("probabilities", 1), [0, 2, 1], "expected 0 to 1, found 2"),
        (task_of("probabilities", 4), [[0, 2, 1, 0]] * 3, "expected 0 and 1, found 2"),
        (task_of("probabilities", 4), [[0, 1, 1]] * 3, r"expected 0 and 1 of shape \(3, 4\), or classes of \(3,\)"),
        (task_of("probabilities", 4), [[0.0, 1.0, 1.0, 0.5]] * 3, "expected integers 0 and 1, found float64"),
        (task_of("probabilities", 4), [0, 4, 1], "expected 0 to 3, found 4"),
        (task_of("", 1), ["a", "b", "c"], "expected"),
        (task_of("", 1), [1j, 0, 1], "expected"),
        (task_of("", 1), [1.0, np.nan, np.inf], "expected finite numbers, found 2 of 3"),
        (task_of("", 1), [[1.0, 2.0]] * 3, r"expected numbers of shape \(3,\), one for each input, found \(3, 2\)"),
        (task_of("", 1), [1.0, 2.0], r"expected numbers of shape \(3,\)"),
    ],
)
def test_what_cannot_be_true_is_one_clear_error(task: Task, labels: object, message: str) -> None:
    with pytest.raises(ab.DataError, match=rf"^labels: .*{message}"):
        task.checked(labels, 3)
