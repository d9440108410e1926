"""The commands: each parses, calls the library, and prints."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

import anyback
from anyback import backends, models, plots, weights
from anyback._files import replacing
from anyback.agreement import parity
from anyback.backends._machine import environment, kernels_advice
from anyback.bench import TABLES, bench, restart
from anyback.cli import _plots
from anyback.cli._data import data_of, dataset, inputs
from anyback.cli._options import (
    BackendOption,
    BatchOption,
    DataOption,
    HiddenOption,
    JsonOption,
    Model,
    OutputOption,
    PixelsOption,
    PrecisionOption,
)
from anyback.datasets import Dataset
from anyback.errors import AnybackError, DataError
from anyback.inference import Evaluation, evaluate, fitted, labels_of, predict

__all__ = [
    "app",
    "bench_command",
    "convert",
    "doctor",
    "evaluate_command",
    "parity_command",
    "plot_command",
    "predict_command",
]

#: The application; `main` runs it.
app = typer.Typer(
    help="Run a trained network on any array library.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("evaluate")
def evaluate_command(
    model: Model = "digits-mlp",
    data: DataOption = None,
    backend: BackendOption = None,
    batch_size: BatchOption = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = "sigmoid",
    output: OutputOption = "softmax",
    pixels: PixelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a network on labelled images."""
    net = models.load_model(model, hidden, output, pixels, backend)
    test = dataset(data or data_of(model))
    result = evaluate(net, fitted(net, test.images), test.labels, batch_size, progress=True, precision=precision)
    if as_json:
        print(json.dumps(_record(model, test, result)))
        return
    table = Table(show_header=False)
    rows = {
        "network": model,
        "data": f"{test.name} {test.split}",
        "backend": f"{result.backend} ({_version(net.backend)})",
        "precision": result.precision,
        "images": f"{result.total:,}",
        "accuracy": f"{result.accuracy:.4f} ({result.correct:,} of {result.total:,})",
        "time": f"{result.seconds:.3g} s",
        "images per second": f"{result.total / max(result.seconds, 1e-9):,.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    print(_glance(test, result, console.width))


def _record(model: str, test: Dataset, result: Evaluation) -> dict[str, Any]:
    return {
        "model": model,
        "data": test.name,
        "split": test.split,
        "backend": result.backend,
        "precision": result.precision,
        "total": result.total,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "seconds": result.seconds,
        "confusion": result.confusion.tolist(),
    }


def _version(backend: backends.Backend | None) -> str:
    return "" if backend is None else backend.version()


def _glance(test: Dataset, result: Evaluation, width: int) -> str:
    """Return a few images as block characters: some that were read rightly, some wrongly, as fit the width."""
    right = np.flatnonzero(result.predictions == result.labels)[:2]
    wrong = np.flatnonzero(result.predictions != result.labels)[:2]
    chosen = [int(i) for i in (*right, *wrong)]
    captions = [
        f"read {result.predictions[i]}" + (", right" if i in right else f", is {result.labels[i]}") for i in chosen
    ]
    if test.images.ndim != 3:
        return ""
    pictures = [plots.blocks(test.images[i]) for i in chosen]
    while pictures:
        drawn = plots.side_by_side(pictures, captions)
        if max(map(len, drawn.splitlines())) <= width:
            return drawn
        # One of each kind is seen longest: what goes first is a second one that was read rightly.
        drop = 1 if len(pictures) > 2 else len(pictures) - 1
        del pictures[drop], captions[drop]
    return ""


@app.command("predict")
def predict_command(
    model: Model,
    file: Annotated[Path, typer.Argument(help="Inputs: .npy, .npz with an array images, or IDX (-ubyte, .gz).")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the outputs to .npy, or labels and outputs to .csv."),
    ] = None,
    backend: BackendOption = None,
    batch_size: BatchOption = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = "sigmoid",
    output: OutputOption = "softmax",
    pixels: PixelsOption = None,
) -> None:
    """Run a network on inputs from a file."""
    if out is not None and out.suffix.lower() not in {".npy", ".csv"}:
        raise DataError(f"{out}: unknown suffix {out.suffix!r}; known: .npy, .csv")
    net = models.load_model(model, hidden, output, pixels, backend)
    images = fitted(net, inputs(file))
    found = predict(net, images, batch_size, progress=True, precision=precision)
    y = np.atleast_2d(backends.to_numpy(found))
    if out is None:
        _print_rows(y)
        return
    with replacing(out, DataError) as temporary, temporary.open("wb") as stream:
        if out.suffix.lower() == ".npy":
            np.save(stream, y)
        else:
            header = ",".join(["label", *(f"output{i}" for i in range(y.shape[1]))])
            table = np.column_stack([labels_of(y)[0], y])
            np.savetxt(stream, table, fmt=["%d"] + ["%.9g"] * y.shape[1], delimiter=",", header=header, comments="")
    print(f"{len(y):,} rows written to {out}")


def _print_rows(y: np.ndarray) -> None:
    for i, (row, label) in enumerate(zip(y, labels_of(y)[0], strict=True)):
        # The label is -1 where an output is nan; one output is the probability of class 1.
        print(f"{i}\t{label}\t{row[label if len(row) > 1 else 0]:.6g}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A .pkl, .npz or .safetensors file.")],
    target: Annotated[Path, typer.Argument(help="The .npz or .safetensors file to write.")],
) -> None:
    """Write weights in another format, to the last bit."""
    arrays = weights.read_weights(source)
    weights.write_weights(target, arrays)
    for name, x in arrays.items():
        print(f"{name}\t{x.dtype}\t{x.shape}")
    print(f"{len(arrays)} arrays written to {target}")


@app.command("parity")
def parity_command(
    model: Model = "digits-mlp",
    data: DataOption = None,
    backends: Annotated[
        str | None, typer.Option(help="Which, with commas between, such as numpy,torch:cuda:1; default: all that work.")
    ] = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = "sigmoid",
    output: OutputOption = "softmax",
    pixels: PixelsOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Draw the errors into this .png or .svg file.")] = None,
) -> None:
    """Run a network on every array library and compare; exit code 1 where they do not agree."""
    if picture is not None:
        _plots.check_target(picture)
    net = models.load_model(model, hidden, output, pixels, "numpy")
    test = dataset(data or data_of(model))
    names = None if backends is None else _names(backends)
    report = dataclasses.replace(
        parity(net, fitted(net, test.images), test.labels, names, precision=precision), model=model
    )
    (name, *numbers), rows = report.table()
    table = Table(Column(name, overflow="fold"), box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number in numbers:  # their headers take two lines, so that a row fits 80 columns
        table.add_column(number.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    console.print(table)
    print(report.summary())
    for note in report.notes():
        print(note)
    if json_file is not None:
        with replacing(json_file, DataError) as temporary:
            temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        _plots.save(plots.plot_parity(report), picture)
    if not report.ok:
        raise typer.Exit(1)


@app.command("bench")
def bench_command(
    model: Model = "digits-mlp",
    data: DataOption = None,
    backends: Annotated[str | None, typer.Option(help="Which, with commas between; default: all that work.")] = None,
    what: Annotated[
        str, typer.Option(help=f"Tables, with commas between: {', '.join(TABLES)}; or all.")
    ] = "throughput",
    threads: Annotated[int, typer.Option(help="Threads, each on a core of its own.")] = 1,
    rounds: Annotated[int, typer.Option(help="Rounds, in which every row is run once.")] = 15,
    most: Annotated[int, typer.Option(help="The most images, for growth and memory.")] = 1_000_000,
    pixels: PixelsOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Measure array libraries against hand-written NumPy and the floor; exit code 1 where an answer differs."""
    restart(threads)
    test = dataset(data or data_of(model))
    tables = list(TABLES) if what == "all" else _names(what)
    with contextlib.ExitStack() as stack:
        temporary = None if json_file is None else stack.enter_context(replacing(json_file, DataError))
        if temporary is not None:
            temporary.touch()  # a file that cannot be written is noticed before minutes have passed
        report = bench(
            model,
            test.images,
            None if backends is None else _names(backends),
            what=tables,
            threads=threads,
            rounds=rounds,
            most=most,
            pixels=pixels,
        )
        print(report)
        if temporary is not None:
            temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if not report.ok:
        raise typer.Exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say which array libraries work here, and how to mend those that do not."""
    found = backends.available_backends()
    where = {
        "anyback": anyback.__version__,
        **environment(),
        "ANYBACK_BACKEND": os.environ.get("ANYBACK_BACKEND", "(not set: numpy)"),
        "ANYBACK_PRECISION": os.environ.get("ANYBACK_PRECISION", "(not set: highest)"),
        "ANYBACK_DATA_DIR": os.environ.get("ANYBACK_DATA_DIR", "(not set: the user's cache folder)"),
    }
    advice = kernels_advice()
    if as_json:
        where |= {"advice": advice} if advice else {}
        print(json.dumps({**where, "backends": [dataclasses.asdict(status) for status in found.values()]}))
        return
    console = Console()
    console.print("\n".join(f"{name}: {value}" for name, value in where.items()), highlight=False, markup=False)
    table = Table("backend", "usable", "version", "devices, or what is wrong and what mends it")
    for status in found.values():
        said = ", ".join(status.devices) if status.usable else f"{status.reason}\n-> {status.remedy}"
        # Escaped: an extra such as anyback[jax] would be taken for markup.
        table.add_row(status.name, "yes" if status.usable else "no", status.version, escape(said))
    console.print(table)
    if advice:
        console.print(advice, highlight=False, markup=False)


@app.command("plot")
def plot_command(
    kind: Annotated[str, typer.Argument(help=f"What to draw: {', '.join(_plots.PICTURES)}.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Activations by name, or a network's name or file; default: digits-mlp.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png or .svg file; default: anyback-KIND.png.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="As for evaluate.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="How many images, or rows of a batch.")] = None,
    index: Annotated[int, typer.Option(help="Which image, from 0: for probabilities.")] = 0,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only images that are read wrongly.")] = False,
    backend: BackendOption = None,
    hidden: HiddenOption = "sigmoid",
    output: OutputOption = "softmax",
    pixels: PixelsOption = None,
) -> None:
    """Draw something to look at into a file."""
    named = names or []
    if kind != "activations" and len(named) > 1:
        raise AnybackError(f"{kind}: expected one network, found {len(named)} names")
    model = named[0] if named else "digits-mlp"
    asked = _plots.Request(
        # For parity, the backend is what is compared, and not where the network begins.
        net=lambda: models.load_model(model, hidden, output, pixels, "numpy" if kind == "parity" else backend),
        data=lambda: dataset(data or data_of(model)),
        functions=named,
        count=count,
        index=index,
        wrong=wrong,
        backends=None if backend is None else [name.strip() for name in backend.split(",")],
    )
    print(f"{kind} written to {_plots.write(kind, asked, out)}")
