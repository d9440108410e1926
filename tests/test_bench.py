"""The benchmark: what it measures, refuses and writes. How fast anything is is no test."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import usable

import anyback as ab
from anyback.bench import TABLES, Report, Result, Row, Work, _children, _clock, _report, _tables, _work, bench, rounds
from anyback.errors import AnybackError, DataError
from anyback.layers import Conv, Flatten, Linear, Reshape, Residual, Sequential

ROOT = Path(__file__).parent.parent
IMAGES = ab.datasets.digits("test").images


def quick(what: str, **more: Any) -> Report:
    return bench("digits-mlp", IMAGES, ["numpy"], what=[what], **{"rounds": 2, "most": 1000, **more})


@pytest.mark.parametrize("what", TABLES)
def test_every_table_has_rows_and_positive_ratios(what: str) -> None:
    report = quick(what)
    assert report.ok
    assert TABLES[what].title.split("{")[0] in str(report)
    assert {result.table for result in report.results} == {what}
    measured = [result for result in report.results if not result.note.startswith("not measured: ")]
    for result in report.results:
        if result not in measured:  # nothing of the library: there is one core, or the other is taken
            assert what == "workers", result.note
            assert "core" in result.note
    for result in measured:
        assert result.value is not None, result.note
        assert result.value >= 0 if what == "memory" else result.value > 0
        assert result.ratio is None if what == "memory" else (result.ratio or 0) > 0
        assert result.name in str(report)
    assert json.loads(json.dumps(report.to_dict()))["environment"]["numpy"] == np.__version__


def test_throughput_measures_the_floor_the_book_and_hand_written_code() -> None:
    report = quick("throughput")
    assert {result.group for result in report.results} == {"floor", "book", "by hand", "anyback"}
    assert next(result.ratio for result in report.results if result.group == "floor") == 1
    ordered = [result.ratio or 0 for result in report.results]
    assert ordered == sorted(ordered)


def test_two_workers_are_not_judged_where_no_second_core_is_free() -> None:
    one, taken = [2.0, 2.0], {"bare_one": [1.0, 1.0], "bare_two": [1.0, 1.0], "same": True}
    (row,) = _tables._speed_up("numpy", {"one": one, "two": one, **taken})
    assert row.value is row.ratio is None
    assert "not measured: no second core was free: bare products gained 1.00 times" in row.note
    free = {**taken, "bare_two": [0.5, 0.5]}
    _, two = _tables._speed_up("numpy", {"one": one, "two": [1.0, 1.0], **free})
    assert (two.ratio, two.note) == (0.5, "2.00 times as fast, bare products 2.00 times; same bits")
    for times in (taken, free):  # other bits are wrong, however fast
        assert _tables._speed_up("numpy", {"one": one, "two": one, **times, "same": False})[-1].wrong


def test_growth_measures_powers_of_ten() -> None:
    names = [result.name for result in quick("growth").results]
    assert names == [f"anyback numpy, {n} image{s}" for n, s in (("1", ""), ("10", "s"), ("100", "s"), ("1,000", "s"))]


def constant(change: Any) -> Row:
    return Row("peer", "peer", lambda work: lambda: change(work.expected.copy()), ("throughput",))


def swapped(y: np.ndarray) -> np.ndarray:
    y[3] = y[3, ::-1]
    return y


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swapped, "1 labels differ from anyback's, first in row 3"),
        (lambda y: y * 2, "probabilities differ from anyback's by up to"),  # as without the softmax
        (lambda y: y * np.nan, "differ"),
        (lambda y: y[:100], "gives shape (100, 10), expected (500, 10)"),
    ],
)
def test_a_peer_with_another_answer_is_refused_before_it_is_timed(change: Any, said: str) -> None:
    report = quick("throughput", peers=[constant(change)])
    (row,) = [result for result in report.results if result.name == "peer"]
    assert row.wrong
    assert row.value is row.ratio is None
    assert said in row.note
    assert f"peer: WRONG: {row.note}" in str(report)
    assert not report.ok


def test_a_peer_with_the_same_answer_is_timed() -> None:
    report = quick("throughput", peers=[constant(lambda y: y)])
    assert report.ok
    assert next(result.ratio for result in report.results if result.name == "peer") is not None


def test_a_peer_that_is_not_there_keeps_a_row_that_says_why() -> None:
    def prepare(work: Work) -> Any:
        import no_such_library  # noqa: F401

    report = quick("throughput", peers=[Row("peer", "peer", prepare, package="no-such-library")])
    row = report.results[-1]
    assert row.note == "not measured: ModuleNotFoundError: No module named 'no_such_library'"
    assert report.ok
    assert report.environment["no-such-library"] == "not installed"


def convolution() -> Sequential:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 1, 3, 3)).astype(np.float32), rng.normal(size=(144, 10)).astype(np.float32)
    return Sequential(Reshape((1, 8, 8)), Conv(weights[0]), "relu", Flatten(), Linear(0.01 * weights[1]), "softmax")


@pytest.mark.parametrize(("what", "measured"), [("throughput", 1), ("latency", 3), ("growth", 4)])
def test_a_network_of_another_kind_is_measured_without_the_rows_by_hand(
    monkeypatch: pytest.MonkeyPatch, what: str, measured: int
) -> None:
    monkeypatch.setattr("anyback.models.load_model", lambda *args, **more: convolution())
    report = quick(what)
    assert report.ok
    assert len([result for result in report.results if result.value is not None]) == measured
    assert ("the first row of anyback" in str(report)) == (what != "growth")
    assert "the floor" not in str(report)
    for result in report.results:
        if result.group == "anyback":
            assert result.ratio, result.note
        else:
            assert result.note.startswith("not measured: written for linear layers with biases"), result.note


@pytest.mark.parametrize("change", ["relu", "no bias", "residual", "none"])
def test_rows_by_hand_are_for_networks_that_compute_what_they_do(change: str) -> None:
    layers: list[Any] = list(ab.load_model("digits-mlp", backend="numpy", dtype="float32"))
    changes = {"relu": (3, "relu"), "no bias": (4, Linear(layers[4].weight)), "residual": (3, Residual("sigmoid"))}
    if change in changes:
        place, new = changes[change]
        layers[place] = new
    found = _work._layers(Sequential(*layers))
    assert [(w.shape, b.shape) for w, b in found] == (
        [((64, 50), (50,)), ((50, 100), (100,)), ((100, 10), (10,))] if change == "none" else []
    )


@pytest.mark.parametrize("images", [IMAGES.astype(np.float32), IMAGES[:0]])
def test_images_must_be_integers(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected images of integers, at least one"):
        bench("digits-mlp", images, ["numpy"])


def test_rounds_call_everything_in_every_round() -> None:
    calls = []
    times = rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4)
    assert {name: len(found) for name, found in times.items()} == {"a": 4, "b": 4}
    assert min(calls.count("a"), calls.count("b")) > 4


def test_a_ratio_is_taken_inside_each_round() -> None:
    # A machine that becomes ten times slower half-way changes times, and no ratio.
    result = Result.timed("t", "n", "g", [2, 2, 20, 20, 20], [1, 1, 10, 10, 10])
    assert (result.value, result.ratio, result.spread) == (20, 2, 0)


def test_bars_are_as_long_as_ratios_and_end() -> None:
    assert [len(_report._bar(ratio)) for ratio in (1.0, 2.0, 0.5)] == [10, 20, 5]
    assert _report._bar(None) == ""
    assert _report._bar(1e6).endswith("▶")


def test_a_process_is_held_to_its_threads_and_the_caller_is_not() -> None:
    before = _clock.cores()
    with _clock.pinned(1) as environment:
        assert environment["OMP_NUM_THREADS"] == "1"
        if hasattr(os, "sched_getaffinity"):
            assert len(os.sched_getaffinity(0)) == 1
    assert _clock.cores() == before
    with pytest.raises(AnybackError, match="threads: expected 1 to"), _clock.pinned(len(before) + 1):
        pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_own_memory_sees_what_is_allocated_and_not_what_is_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(10_000_000))
    before = _children.own_memory()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert mapped.sum() == 0
    assert _children.own_memory() - before < 20e6
    _, peak = _children._peak(lambda: np.ones(10_000_000))
    assert 75e6 < peak - before < 120e6


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(AnybackError, match=r"the process of its own failed: .*no network and no file"):
        _clock.in_child("memory", model="no-such-net", pixels=None, backend="numpy", path="none")


def command(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


def test_the_command_restarts_itself_with_its_threads_and_writes_json(tmp_path: Path) -> None:
    args = ("-m", "anyback", "bench", "--backends", "numpy", "--rounds", "2", "--json", "b.json")
    done = command(*args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "floor: bare products" in done.stdout
    assert "threads: 1" in done.stdout
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert (record["model"], record["images"], record["rounds"], record["ok"]) == ("digits-mlp", 500, 2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_compare_finds_what_became_slower(tmp_path: Path) -> None:
    report = quick("throughput").to_dict()
    (tmp_path / "old.json").write_text(json.dumps({"default": report}))
    (tmp_path / "same.json").write_text(json.dumps({"default": report}))
    for row in report["results"]:
        row["ratio"] *= 1.2
    (tmp_path / "slow.json").write_text(json.dumps({"default": report}))
    compare = str(ROOT / "benchmarks" / "compare.py")
    same = command(compare, "same.json", "--with", "old.json", cwd=tmp_path)
    assert (same.returncode, same.stdout) == (0, "1 rows of anyback compared, 0 slower by more than 10%\n")
    slow = command(compare, "slow.json", "--with", "old.json", cwd=tmp_path)
    assert slow.returncode == 1
    assert "slower by 20%: default / throughput / anyback numpy" in slow.stdout


def test_compare_says_in_one_line_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("hello")
    for name, said in (
        ("none.json", "none.json: No such file"),
        ("list.json", "no report"),
        ("text.json", "no report"),
    ):
        done = command(str(ROOT / "benchmarks" / "compare.py"), name, "--with", name, cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert said in done.stderr


def test_networks_from_onnx_files_are_measured_beside_goals(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "onnx_networks.py")
    done = command(script, "--what", "steps", "--rounds", "2", "--json", "o.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] in ("0 of 1 goals are reached", "1 of 1 goals are reached")
    run = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["default"]
    assert [row["name"] for row in run["results"] if row["goal"]] == ["net.program"]
    assert all(0 < row["least"] <= row["value"] for row in run["results"])
    assert command(script, "--what", "size", cwd=tmp_path).stderr.startswith("onnx_networks.py: unknown table 'size'")


def test_a_goal_is_judged_round_by_round_by_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import goals

    floor = [1.0, 10.0, 1.0]
    rows = {"a": [3.0, 30.0, 3.0], "b": [2.2, 20.0, 2.0], "floor": floor}
    results = [Result.timed("t", name, "anyback", times, floor) for name, times in rows.items()]
    goal = goals.Goal("work", "t", ("a", "b"), ("floor", "other"), 1.15)
    assert goal.ratio(results) == 2.0
    assert goals.Goal("work", "t", ("a",), (), 1.15).ratio(results) == 3.0
    assert goals.Goal("work", "t", ("a",), ("other",), 1.15).ratio(results) is None
    monkeypatch.setattr(goals, "goals", lambda: iter([goal]))
    table, found = goals.judged(results, ["t"])
    assert found == [{"work": "work", "table": "t", "ratio": 2.0, "goal": 1.15, "met": False}]
    assert "MISSED" in str(table)
    assert "0 of 1 goals are reached" in str(table)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param("numpy", marks=pytest.mark.numpy),
        pytest.param("cupy", marks=pytest.mark.cupy),
        pytest.param("torch:cpu", marks=pytest.mark.torch),
        pytest.param("jax:cpu:0", marks=pytest.mark.jax),
    ],
)
def test_what_a_gpu_is_measured_with_gives_the_answer_on_any_device(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_rows

    place, name = usable(spec), spec.partition(":")[0]
    # What is written for CuPy is NumPy's own functions, but for the fusion of its kernels.
    monkeypatch.setattr(gpu_rows, "MLP_BY_HAND", {**gpu_rows.MLP_BY_HAND, "numpy": gpu_rows.MLP_BY_HAND["cupy"]})
    monkeypatch.setattr(gpu_rows, "TILES", (64,))
    work = Work.of("digits-mlp", IMAGES)
    ways = functools.partial(gpu_rows.mlp_ways, work, work.x)
    found = {row.name: row for row in gpu_rows.rows("digits", ways, [place], work.expected, work.x.nbytes, 2)}
    named = [f"digits: anyback {name}", *(f"digits: {name} {way}" for way in gpu_rows.MLP_BY_HAND[name])]
    assert sorted(found) == sorted(named)
    measured = {row: result for row, result in found.items() if result.value}
    assert all("GB/s of images" in result.note and result.ratio for result in measured.values())
    missing = {row.rpartition(" ")[2] for row in found.keys() - measured.keys()}
    assert missing == ({"graph"} if spec == "torch:cpu" else set())  # a graph is of CUDA


REPORTS = sorted(path for path in (ROOT / "benchmarks" / "reports").glob("*.json") if "bench" in path.name)


@pytest.mark.parametrize("path", REPORTS, ids=lambda p: p.name)
def test_committed_reports_name_their_machine_and_are_right(path: Path) -> None:
    runs = json.loads(path.read_text(encoding="utf-8"))
    assert runs
    for run in runs.values():
        assert run["ok"]
        assert run["rounds"] >= 15
        assert {"processor", "blas", "python", "numpy"} <= set(run["environment"])
