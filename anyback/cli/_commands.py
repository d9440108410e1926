"""The commands that use a network: each parses, calls the library, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import typer

from anyback import backends, plots, weights
from anyback._files import replacing, shown
from anyback._show import Table, json_text
from anyback.cli import _complete, _plots
from anyback.cli._app import (
    BackendOption,
    BatchOption,
    DataOption,
    HiddenOption,
    JsonOption,
    Model,
    OutputOption,
    PixelsOption,
    PrecisionOption,
    command,
    names_in,
)
from anyback.cli._data import data_of, dataset, inputs, network, sample_shape
from anyback.cli._jobs import is_job, write_job
from anyback.cli._output import columns, print_table
from anyback.cli._targets import ask_to_replace, check_target
from anyback.datasets import Dataset
from anyback.errors import AnybackError, DataError
from anyback.evaluation import Score, evaluate
from anyback.inference import predict, task_for
from anyback.network import NETWORK_TEXT
from anyback.tasks import Task

__all__ = ["convert", "evaluate_command", "plot_command", "predict_command"]


@command("evaluate", "digits-mlp --backend numpy --json")
def evaluate_command(
    model: Model = "digits-mlp",
    data: DataOption = None,
    backend: BackendOption = None,
    batch_size: BatchOption = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = None,
    output: OutputOption = None,
    pixels: PixelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a network on labelled images."""
    place = backends.resolve(backend)  # before data is downloaded
    test = dataset(data or data_of(model))
    shape = sample_shape(test.images)
    net = network(model, hidden=hidden, output=output, pixels=pixels, shape=shape, backend=place)
    result = evaluate(net, test.images, test.labels, batch_size, progress=True, precision=precision)
    if as_json:
        print(json_text({"model": model, "data": test.name, "split": test.split, **result.to_dict()}))
        return
    rows = {
        "network": shown(model),
        "data": f"{shown(test.name)} {test.split}",
        "backend": f"{result.backend} ({_version(net.backend)})",
        "precision": result.precision,
        "images": f"{result.total:,}",
        **result.score(),
        "time": f"{result.seconds:.3g} s",
        "images per second": f"{result.total / max(result.seconds, 1e-9):,.0f}",
    }
    print_table(Table((), tuple(rows.items()), left=(0, 1)))
    if glance := _glance(test, result, columns()):
        print(glance)


def _version(backend: backends.Backend | None) -> str:
    return "" if backend is None else backend.version()


def _glance(test: Dataset, result: Score, width: int) -> str:
    """Return a few images as block characters: some that were read rightly, some wrongly, as fit the width."""
    if test.images.ndim != 3 or result.right is None:  # numbers are neither right nor wrong
        return ""
    right, wrong = np.flatnonzero(result.right)[:2], np.flatnonzero(~result.right)[:2]
    chosen = [int(i) for i in (*right, *wrong)]
    captions = [
        f"read {result.predictions[i]}" + (", right" if i in right else f", is {result.labels[i]}") for i in chosen
    ]
    pictures = [plots.blocks(test.images[i]) for i in chosen]
    while pictures:
        drawn = plots.side_by_side(pictures, captions)
        if max(map(len, drawn.splitlines())) <= width:
            return drawn
        # One of each kind is seen longest: what goes first is a second one that was read rightly.
        drop = 1 if len(pictures) > 2 else len(pictures) - 1
        del pictures[drop], captions[drop]
    return ""


@command("predict", "digits-mlp images.npy --out labels.csv")
def predict_command(
    model: Model,
    file: Annotated[
        Path, typer.Argument(help="Inputs: .npy, .npz with an array images, IDX (-ubyte, .gz), or a zarr array.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the outputs to .npy or .zarr, or labels and outputs to .csv."),
    ] = None,
    backend: BackendOption = None,
    batch_size: BatchOption = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = None,
    output: OutputOption = None,
    pixels: PixelsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a job in shards was ended, or begin it.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Compute shards in so many processes.")] = None,
    shards: Annotated[str | None, typer.Option(help="One part of a job in shards, i/n, with i from 0: 3/16.")] = None,
    shard_rows: Annotated[int | None, typer.Option(help="Rows of a shard, rounded up to whole tiles.")] = None,
    on_bad: Annotated[str | None, typer.Option(help="Rows that cannot be computed: nan (default) or raise.")] = None,
) -> None:
    """Run a network on inputs from a file; in shards where they or the outputs are zarr, or an option says so."""
    if is_job(out, file, (resume, workers, shards, shard_rows, on_bad)):
        options = {"hidden": hidden, "output": output, "pixels": pixels}
        return write_job(
            *(model, file, out),
            backend=backend,
            precision=precision,
            options=options,
            resume=resume,
            workers=workers,
            shards=shards,
            shard_rows=shard_rows,
            on_bad=on_bad or "nan",
        )
    if out is not None:
        check_target(out, (".npy", ".csv", ".zarr"), (model, file))
    images = inputs(file)
    shape = sample_shape(images)
    net = network(model, hidden=hidden, output=output, pixels=pixels, shape=shape, backend=backend)
    found = predict(net, images, batch_size, progress=True, precision=precision)
    y = np.atleast_2d(backends.to_numpy(found))
    if y.dtype.name == "bfloat16":  # which .npy has no name for; float32 keeps every bit of it
        y = y.astype(np.float32)
    if out is None:
        _print_rows(task_for(net, y), y)
        return
    with replacing(out, DataError) as temporary, temporary.open("wb") as stream:
        if out.suffix.lower() == ".npy":
            np.save(stream, y)
        else:
            _write_rows(stream, task_for(net, y), y)
    print(f"{len(y):,} rows written to {shown(out)}")


def _write_rows(stream: BinaryIO, task: Task, y: np.ndarray) -> None:
    """Write a line of CSV for each row: its label or labels, unless outputs are numbers, and its outputs."""
    found = np.zeros((len(y), 0), int) if task.classes == 0 else task.labels(y)
    labels = [found] if found.ndim == 1 else list(found.T)
    names = ["label"] if found.ndim == 1 else [f"label{i}" for i in range(len(labels))]
    header = ",".join([*names, *(f"output{i}" for i in range(y.shape[1]))])
    digits = "%.17g" if y.dtype == np.float64 else "%.9g"  # so many keep every bit of the type
    formats = [*["%d" for _ in labels], *[digits] * y.shape[1]]
    table = np.column_stack([*labels, y])
    np.savetxt(stream, table, fmt=formats, delimiter=",", header=header, comments="")


def _print_rows(task: Task, y: np.ndarray) -> None:
    """Print a line for each row: its number, its label, and that label's output; of numbers, the number.

    Of several labels, those that are given, with commas between, and their outputs.
    """
    if task.classes == 0:
        for i, number in enumerate(y[:, 0]):
            print(f"{i}\t{number:.6g}")
        return
    if task.name == "several labels":
        for i, (row, given) in enumerate(zip(y, task.labels(y) == 1, strict=True)):
            chosen = np.flatnonzero(given)
            print(i, ",".join(map(str, chosen)) or "-", ",".join(f"{row[k]:.6g}" for k in chosen) or "-", sep="\t")
        return
    for i, (row, label) in enumerate(zip(y, task.one_each.labels(y), strict=True)):
        # The label is -1 where an output is nan; one output is the probability of class 1.
        print(f"{i}\t{label}\t{row[label if len(row) > 1 else 0]:.6g}")


@command("convert", "weights.pkl weights.safetensors")
def convert(
    source: Annotated[Path, typer.Argument(help="A .pkl, .npz, .safetensors, .pt, .h5 or .keras file.")],
    target: Annotated[Path, typer.Argument(help="The .npz or .safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file to write without asking.")] = False,
) -> None:
    """Write weights in another format, to the last bit."""
    check_target(target, [suffix for suffix, row in weights.FORMATS.items() if row.write], [source])
    if not force:
        ask_to_replace(target)
    file = weights.read_file(source)
    arrays = file.arrays
    # Texts of other programs stay where there is a place for them; the calls of a network are never lost in silence.
    kept = file.texts.keys() if weights.FORMATS[target.suffix.lower()].texts else file.texts.keys() & {NETWORK_TEXT}
    weights.write_file(target, arrays, {name: file.texts[name] for name in kept})
    for name, x in arrays.items():
        print(f"{name}\t{x.dtype}\t{x.shape}")
    print(f"{len(arrays)} arrays written to {shown(target)}")


@command("plot", "images digits-mlp --wrong --out wrong.png")
def plot_command(
    kind: Annotated[
        str,
        typer.Argument(
            help=f"What to draw: {', '.join(_plots.PICTURES)}.",
            autocompletion=_complete.pictures,
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Activations by name, or a network's name or file; default: digits-mlp.",
            autocompletion=_complete.drawn,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png, .svg or .pdf file; default: anyback-KIND.png.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="As for evaluate.", autocompletion=_complete.data)] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="How many images, or rows of a batch.")] = None,
    index: Annotated[int, typer.Option(help="Which image, from 0: for probabilities.")] = 0,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only images that are read wrongly.")] = False,
    backend: BackendOption = None,
    hidden: HiddenOption = None,
    output: OutputOption = None,
    pixels: PixelsOption = None,
) -> None:
    """Draw something to look at into a file."""
    named = names or []
    if kind != "activations" and len(named) > 1:
        raise AnybackError(f"{kind}: expected one network, found {len(named)} names")
    model = named[0] if named else "digits-mlp"
    asked = _plots.Request(
        # For parity, the backend is what is compared, and not where the network begins.
        net=lambda shape: network(
            *(model,),
            hidden=hidden,
            output=output,
            pixels=pixels,
            shape=shape,
            backend="numpy" if kind == "parity" else backend,
        ),
        data=lambda: dataset(data or data_of(model)),
        functions=named,
        count=count,
        index=index,
        wrong=wrong,
        backends=None if backend is None else names_in(backend),
    )
    print(f"{kind} written to {shown(_plots.write(kind, asked, out, others=(model, data)))}")
