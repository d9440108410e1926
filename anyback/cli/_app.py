"""The application, what it does without a command, and the options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import anyback
from anyback.cli import _complete
from anyback.numbers import PrecisionName

__all__ = [
    "BackendOption",
    "BatchOption",
    "CountOption",
    "DataOption",
    "HiddenOption",
    "JsonOption",
    "Model",
    "OutputOption",
    "PixelsOption",
    "PrecisionOption",
    "app",
    "command",
    "names_in",
    "start",
]

Model = Annotated[
    str,
    typer.Argument(
        help="A network's name, or an .onnx, .pkl, .npz, .safetensors, .pt, .h5 or .keras file.",
        autocompletion=_complete.networks,
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="digits, mnist, or an .npz file with images and labels; default: the model's.",
        autocompletion=_complete.data,
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        *("--backend", "-b"),
        help="Such as jax, torch:cuda:1, auto; else ANYBACK_BACKEND.",
        autocompletion=_complete.backends,
    ),
]
BatchOption = Annotated[int | None, typer.Option(help="Rows to take at a time; it never changes an answer.")]
CountOption = Annotated[int | None, typer.Option("--count", "-n", help="Only so many images, the first; default: all.")]
PrecisionOption = Annotated[PrecisionName | None, typer.Option(help="Of matrix products.")]
HiddenOption = Annotated[
    str | None,
    typer.Option(
        help="Activation between the layers; default: the network's, or of a file sigmoid.",
        autocompletion=_complete.activations,
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        help="Activation of the last layer; default: the network's, or of a file softmax.",
        autocompletion=_complete.activations,
    ),
]
PixelsOption = Annotated[float | None, typer.Option(help="Largest pixel value, by which integers are divided.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: The application; `main` runs it.
app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Run a trained network on any array library."""
    if version:
        print(f"anyback {anyback.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:  # no mistake: it is how people ask what there is
        print(context.get_help())


def command(name: str, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that puts a function into the application, with an example behind its help.

    Parameters
    ----------
    name : str
        The command's name.
    example : str
        What follows ``anyback`` and the command's name; a test runs it.
    """
    # \b keeps the lines as they are.
    return app.command(name, epilog=f"\b\nExample:\n  anyback {name} {example}".rstrip())


def names_in(text: str) -> list[str]:
    """Return names with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]
