"""The names that people type for a backend, and the backend that each means."""

from __future__ import annotations

from anyback.backends._table import ROWS

__all__ = ["ACCELERATORS", "about", "meant"]

#: Other names of a library in small letters -> its name here; a device behind the colon is kept.
_LIBRARIES = {
    "array-api-strict": "array_api_strict",
    "cp": "cupy",
    "jnp": "jax",
    "np": "numpy",
    "pytorch": "torch",
    "strict": "array_api_strict",
}
#: Names of devices that only one library has -> that library with the device.
_DEVICES = {"mps": "torch:mps", "tpu": "jax:tpu"}
#: Names of devices that several libraries have -> the libraries' names for them; the first library that works is taken.
ACCELERATORS = {"cuda": ("cuda", "gpu"), "gpu": ("cuda", "gpu", "rocm", "mps")}

#: Names of libraries that are no backend -> what to do instead.
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
    if name in ROWS:  # also a backend of the program's own, whatever its name
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
