"""The commands that look at this machine: what works, whether it agrees, how fast it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

import anyback
from anyback import backends, inference, models, plots
from anyback._show import Table, json_text
from anyback.agreement import parity
from anyback.backends._blas import threads_advice
from anyback.backends._machine import environment, kernels_advice
from anyback.bench import TABLES, bench, restart
from anyback.cli import _complete, _plots
from anyback.cli._app import (
    CountOption,
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
from anyback.cli._data import check_count, compared, data_of, dataset, network, sample_shape
from anyback.cli._output import ReaderLeftError, print_lines, print_table
from anyback.cli._targets import check_target, write_json

__all__ = ["bench_command", "doctor", "parity_command"]


@command("parity", "digits-mlp --backends numpy --count 100 --json parity.json")
def parity_command(
    model: Model = "digits-mlp",
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, or an .npz, .npy or IDX file, with or without labels.",
            autocompletion=_complete.data,
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Which, with commas between, such as numpy,torch:cuda:1; default: all that work.",
            autocompletion=_complete.several(_complete.backends),
        ),
    ] = None,
    precision: PrecisionOption = None,
    hidden: HiddenOption = None,
    output: OutputOption = None,
    pixels: PixelsOption = None,
    count: CountOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw the errors into this .png, .svg or .pdf file.")
    ] = None,
) -> None:
    """Run a network on every array library and compare; exit code 1 where they do not agree."""
    if json_file is not None:
        check_target(json_file, others=(model, data, picture))
    if picture is not None:
        _plots.check_picture(picture, others=(model, data))
    check_count(count)
    images, labels = compared(data or data_of(model))
    shape = sample_shape(images)
    net = network(model, hidden=hidden, output=output, pixels=pixels, shape=shape, backend="numpy")
    names = None if backends is None else names_in(backends)
    report = dataclasses.replace(
        parity(net, images[:count], None if labels is None else labels[:count], names, precision=precision),
        model=model,
    )
    if json_file is not None:
        write_json(json_file, report.to_dict())
    if picture is not None:
        _plots.save(plots.plot_parity(report), picture)
    with contextlib.suppress(ReaderLeftError):  # the exit code answers all the same
        # The verdict stands below the table, so it is visible; a terminal of less than 80 columns wraps lines itself.
        table = report.table()
        print_table(dataclasses.replace(table, caption="", notes=(table.caption, *table.notes)), least=80)
    if not report.ok:
        raise typer.Exit(1)


@command("bench", "digits-mlp --backends numpy --what latency --rounds 3")
def bench_command(
    model: Model = "digits-mlp",
    data: DataOption = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Which, with commas between; default: all that work.",
            autocompletion=_complete.several(_complete.backends),
        ),
    ] = None,
    what: Annotated[
        str,
        typer.Option(
            help=f"Tables, with commas between: {', '.join(TABLES)}; or all.",
            autocompletion=_complete.several(_complete.tables),
        ),
    ] = "throughput",
    threads: Annotated[int, typer.Option(help="Threads, each on a core of its own.")] = 1,
    rounds: Annotated[int, typer.Option(help="Rounds, in which every row is run once.")] = 15,
    most: Annotated[int, typer.Option(help="The most images, for growth and memory.")] = 1_000_000,
    pixels: PixelsOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
) -> None:
    """Measure array libraries against hand-written NumPy and the floor; exit code 1 where an answer differs."""
    if json_file is not None:
        check_target(json_file, others=(model, data))
    restart(threads)
    test = dataset(data or data_of(model))
    report = bench(
        model,
        test.images,
        None if backends is None else names_in(backends),
        what=list(TABLES) if what == "all" else names_in(what),
        threads=threads,
        rounds=rounds,
        most=most,
        pixels=pixels,
    )
    if json_file is not None:
        write_json(json_file, report.to_dict())
    with contextlib.suppress(ReaderLeftError):
        print(report, flush=True)
    if not report.ok:
        raise typer.Exit(1)


@command("doctor", "--json")
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
    advice = kernels_advice() or threads_advice()
    products = {name: ways for name, status in found.items() if (ways := _products(name, status))}
    if as_json:
        where |= {"advice": advice} if advice else {}
        rows = [dataclasses.asdict(status) for status in found.values()]
        print(json_text({**where, "backends": rows, "products": products}))
        return
    print_lines(f"{name}: {value}" for name, value in where.items())
    print_table(_usable(found.values()))
    print_lines(
        f"products in predict on {name}: {', '.join(f'{shape} in {way}' for shape, way in ways.items())}"
        for name, ways in products.items()
    )
    print_lines([advice] if advice else [])


def _usable(found: Iterable[backends.Status]) -> Table:
    """Return a table of the libraries: the devices of those that work, and what mends the others."""
    header = ("backend", "usable", "version", "devices, or what is wrong and what mends it")
    rows = [
        (
            status.name,
            "yes" if status.usable else "no",
            status.version or "",
            ", ".join(status.devices) if status.usable else f"{status.reason}\n-> {status.remedy}",
        )
        for status in found
    ]
    return Table(header, rows, left=range(4))


#: The most multiply-adds for one image of a network that doctor checks: JAX takes ten seconds for one of 9 million.
_MOST_MULTIPLY_ADDS = 2_000_000


def _products(name: str, status: backends.Status) -> dict[str, str]:
    """Return how a library multiplies by the weights of the named networks here, so that bits do not change.

    On a CPU alone: a library that takes a GPU takes its memory, and keeps it. Without the networks whose check takes
    many seconds.
    """
    if not status.usable or not status.devices or "cpu" not in status.devices[0].lower():
        return {}
    found: dict[str, str] = {}
    for model, row in models.NETWORKS.items():
        sketch = row.sketch()
        if sum(layer.multiply_adds for layer in sketch.summary()) > _MOST_MULTIPLY_ADDS:
            continue
        ways = inference.chosen_ways(sketch.to(f"{name}:{status.devices[0]}"))
        found |= {key if "×" in key else model: way for key, way in ways.items()}
    return found
