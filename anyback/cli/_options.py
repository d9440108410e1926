"""The options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "BackendOption",
    "BatchOption",
    "DataOption",
    "HiddenOption",
    "JsonOption",
    "Model",
    "OutputOption",
    "PixelsOption",
    "PrecisionOption",
]

Model = Annotated[str, typer.Argument(help="A network's name, or a .pkl, .npz or .safetensors file.")]
DataOption = Annotated[
    str | None, typer.Option(help="digits, mnist, or an .npz file with images and labels; default: the model's.")
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", "-b", help="Such as jax, torch:cuda:1, auto; else ANYBACK_BACKEND.")
]
BatchOption = Annotated[int | None, typer.Option(help="Rows to take at a time; it never changes an answer.")]
PrecisionOption = Annotated[str | None, typer.Option(help="Of matrix products: highest, tf32 or bf16.")]
HiddenOption = Annotated[str, typer.Option(help="Activation between the layers.")]
OutputOption = Annotated[str, typer.Option(help="Activation of the last layer.")]
PixelsOption = Annotated[float | None, typer.Option(help="Largest pixel value, by which integers are divided.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
