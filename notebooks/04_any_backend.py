# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. The same network on any array library · どの配列ライブラリでも同じネットワーク
#
# The network is written once, and the arrays that it is given decide what computes: NumPy, JAX, PyTorch or CuPy.
#
# ネットワークは一度だけ書かれ、NumPy・JAX・PyTorch・CuPyのどれで計算するかは、渡された配列が決めます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import numpy as np

import anyback as ab
from anyback.plots import plot_parity

print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## What is there · 使えるライブラリ
#
# anyback tries each library, and says what is missing where one cannot be used.
#
# anybackは各ライブラリを試し、使えないものについては足りないものを示します。

# %%
found = ab.available_backends()
for name, status in found.items():
    print(
        f"{name:17}",
        ", ".join(status.devices) if status.usable else f"not here: {status.reason}",
    )
libraries = [name for name in ("numpy", "jax", "torch", "cupy") if found[name].usable]
assert "numpy" in libraries

# %% [markdown]
# ## The same lines on each · 同じコードをそれぞれで
#
# Only the name of the library changes.
#
# 変わるのはライブラリの名前だけです。

# %%
try:
    test, model, expected = ab.datasets.mnist("test"), "mnist-mlp", 9352
    ab.load_model(model)
except ab.DataError:
    test, model, expected = ab.datasets.digits("test"), "digits-mlp", None

results = {}
for name in libraries:
    net = ab.load_model(model, backend=name)
    results[name] = ab.evaluate(net, test.images, test.labels)
    print(
        f"{name:6} {results[name].accuracy:.4f} in {results[name].seconds:.3f} s, the first run"
    )

assert len({result.correct for result in results.values()}) == 1, (
    "every library gives the same labels"
)
assert expected in (None, results["numpy"].correct)

# %% [markdown]
# ## Arrays stay where they are · 配列は元の場所にとどまる
#
# An array of a library goes in, and one of the same library, on the same device, comes out.
#
# あるライブラリの配列を渡すと、同じライブラリ・同じデバイスの配列が返ってきます。

# %%
for name in libraries:
    net = ab.load_model(model, backend=name)
    x = ab.asarray(test.images[:5], backend=name)
    y = net(x)
    assert type(y) is type(x)
    print(f"{name:6} {type(x).__module__}.{type(x).__name__} in and out, on {net.backend}")

# %% [markdown]
# Arrays of two libraries never mix silently. The error names both, and the call that moves one:

# %%
said = "only NumPy is here"
if len(libraries) > 1:
    other = libraries[1]
    try:
        ab.load_model(model, backend=other)(
            test.images[:5]
        )  # a network there, and images of NumPy
    except ab.BackendError as error:
        said = str(error)
        assert "do not mix" in said
print(said)

# %% [markdown]
# ## In and out without a copy · コピーせずに渡す
#
# Libraries hand arrays to each other by DLPack: both then look at the same memory.
#
# ライブラリ同士はDLPackで配列を受け渡し、同じメモリを共有できます。
#
# Here an array of NumPy becomes one of PyTorch, goes through the network there, and its answer becomes an array of
# NumPy again. A change on one side is seen on the other, so nothing was copied.

# %%
if "torch" in libraries:
    import torch

    net = ab.load_model(model, backend="torch:cpu")
    pixels = (test.images[:5] / test.images.max()).astype(np.float32)
    there = torch.from_dlpack(pixels)
    y = net(there)
    back = np.from_dlpack(y)
    pixels[0, 0, 0] = 0.5
    assert float(there[0, 0, 0]) == 0.5, "the way in copied"
    assert back.__array_interface__["data"][0] == y.data_ptr(), "the way out copied"
    print(
        "PyTorch looked at NumPy's memory, and NumPy looks at PyTorch's answer:",
        back.argmax(axis=1),
    )

# %%
if "jax" in libraries:
    import jax

    with ab.use_backend("jax:cpu"):
        y = ab.load_model(model)(ab.asarray(test.images[:5]))
    back = np.from_dlpack(y)
    assert back.__array_interface__["data"][0] == y.unsafe_buffer_pointer(), (
        "the way out copied"
    )
    assert not back.flags.writeable, "arrays of JAX cannot be changed, by NumPy neither"
    print("NumPy looks at JAX's answer:", back.argmax(axis=1), "by", jax.__version__)

# %%
if "cupy" in libraries:
    import cupy

    net = ab.load_model(model, backend="cupy")
    y = net(cupy.asarray(test.images[:5]))
    again = cupy.from_dlpack(y)
    assert again.data.ptr == y.data.ptr, "copied"
    print("CuPy's answer stays on the GPU:", again.argmax(axis=1))

# %% [markdown]
# ## Is it really the same? · 本当に同じ答えか
#
# The parity report runs the network on every library and device, and compares each with float64.
#
# パリティレポートは、すべてのライブラリとデバイスでネットワークを実行し、それぞれをfloat64の結果と比べます。

# %% tags=["html"]
report = ab.parity(model, test.images[:1000], test.labels[:1000], backends=libraries)
assert report.ok, report.notes()
report

# %% [markdown]
# The same as a picture. Full float32 stays left of the tolerance; the shorter numbers that a GPU may use for products,
# imitated here, do not. That is why anyback asks for full precision unless it is told otherwise.

# %% tags=["picture"]
ax = plot_parity(report)
assert all(row.max_error <= 2e-6 for row in report.rows if not row.simulated)
