"""The commands for more rows than memory holds: a job in shards, and its verification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anyback import backends
from anyback._files import shown
from anyback._show import Table, json_text
from anyback.cli._app import JsonOption, command
from anyback.cli._data import network
from anyback.cli._output import print_table
from anyback.models import NETWORKS
from anyback.numbers import PrecisionName
from anyback.streams import OUTPUTS, Verified, open_source, predict_to, verify

__all__ = ["is_job", "verify_command", "write_job"]


def is_job(out: Path | None, file: Path, asked: Any) -> bool:
    """Return whether outputs are to be written shard by shard: where somebody asks for it, or for zarr."""
    zarr = out is not None and (out.suffix.lower() == ".zarr" or file.is_dir())
    return zarr or any(x is not None and x is not False for x in asked)


def write_job(
    model: str,
    file: Path,
    out: Path | None,
    *,
    backend: str | None,
    precision: PrecisionName | None,
    options: dict[str, Any],
    resume: bool,
    workers: int | None,
    **more: Any,
) -> None:
    """Write the outputs of a network shard by shard, and say what was done."""
    if out is None:
        raise typer.BadParameter(f"give --out, one of {', '.join(OUTPUTS)}: outputs in shards are not printed")
    with backends.use_backend(backends.resolve(backend)):
        net: Any = model
        says_itself = model in NETWORKS or Path(model).suffix.lower() == ".onnx"
        if not says_itself or any(x is not None for x in options.values()):
            shape = open_source(file).shape[1:]
            net = network(model, shape=shape if len(shape) > 1 else None, **options)
        done = predict_to(out, net, file, workers, resume=resume, precision=precision, **more)
    there = "written to" if done.done else "are not all there yet: a part was written to"
    print(f"{done.rows:,} rows {there} {shown(out)}, {done.computed:,} of {done.shards:,} shards now")


@command("verify", "outputs.npy")
def verify_command(
    out: Annotated[Path, typer.Argument(help="What predict wrote in shards: a .zarr folder or an .npy file.")],
    as_json: JsonOption = False,
) -> None:
    """Read an output again, and compare each shard with its mark; exit code 1 where it is not whole."""
    found = verify(out)
    if as_json:
        print(json_text(_plain(found)))
    else:
        rows = {
            "output": shown(out),
            "rows": f"{found.rows:,}",
            "shards": f"{found.shards:,}",
            "missing": _named(found.missing),
            "wrong": _named(found.wrong),
            "bad rows": f"{found.bad:,}" + (f": {_named(found.bad_rows)}" if found.bad else ""),
            "finished": "yes" if found.done else "no",
        }
        print_table(Table((), tuple(rows.items()), left=(0, 1)))
        for i, why in list(found.wrong.items())[:10]:
            print(f"shard {i}: {why}")
        if found.wrong:
            print(
                "To compute a shard again, remove done.json and its mark, marks/N.json, from the job's folder; resume."
            )
    sys.stdout.flush()
    if not found:
        raise typer.Exit(1)


def _named(numbers: Any) -> str:
    some = ", ".join(map(str, list(numbers)[:10]))
    return f"{len(numbers):,}: {some}" + (", ..." if len(numbers) > 10 else "") if numbers else "0"


def _plain(found: Verified) -> dict[str, Any]:
    return {**vars(found), "ok": found.ok}
