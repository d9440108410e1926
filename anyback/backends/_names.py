"""What people type for a backend, and which one they mean by it."""

from __future__ import annotations

from anyback.backends._table import ROWS

__all__ = ["ACCELERATORS", "about", "meant"]

#: Other names of a library, in small letters; a device behind them stays.
_LIBRARIES = {
    "array-api-strict": "array_api_strict",
    "cp": "cupy",
    "jnp": "jax",
    "np": "numpy",
    "pytorch": "torch",
    "strict": "array_api_strict",
}
#: Names of devices that one library alone has.
_DEVICES = {"mps": "torch:mps", "tpu": "jax:tpu"}
#: Names of devices that several libraries have, and what those call them: the first library that works is taken.
ACCELERATORS = {"cuda": ("cuda", "gpu"), "gpu": ("cuda", "gpu", "rocm", "mps")}

#: Names that are no backend here, and what to do.
_CURES = {
    "cpu": "every library runs there: 'numpy', 'torch:cpu' and 'jax:cpu' do; ",
    "keras": "its networks run here on another library, from an ONNX file; ",
    "mlx": "anyback computes on no arrays of MLX; 'torch:mps' runs on the same machines; ",
    "onnx": "an ONNX file is loaded by anyback.load_model(path), and runs on any library; ",
    "tensorflow": "its networks run here on another library, from an ONNX file; ",
}
_CURES |= {"tf": _CURES["tensorflow"], "onnxruntime": _CURES["onnx"]}


def meant(spec: str) -> str:
    """Return what a name of a backend means, with the device behind it; a name without a meaning as it is.

    Examples
    --------
    >>> [meant(spec) for spec in ("PyTorch:cuda:1", "JAX", "Numpy", "mps")]
    ['torch:cuda:1', 'jax', 'numpy', 'torch:mps']
    """
    name, colon, device = spec.partition(":")
    if name in ROWS:  # a program's own row too, whatever it is called
        return spec
    small = name.strip().lower().replace(" ", "-")
    rows = {row.lower(): row for row in ROWS}
    found = _LIBRARIES.get(small) or rows.get(small.replace("-", "_"))
    if found in ROWS:
        return f"{found}{colon}{device.strip()}"
    if small in _DEVICES:
        return f"{_DEVICES[small]}{colon}{device.strip()}"
    return f"{small}{colon}{device}" if small in (*ACCELERATORS, "auto") else spec


def about(name: str, device: str) -> str:
    """Return what to do about a name that is no backend's; empty where nothing is known."""
    if name in ACCELERATORS:
        return f"name a library in front of the device, such as 'torch:cuda:{device}' or 'cupy:{device}'; "
    return _CURES.get(name.strip().lower(), "")
