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

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import logging

import numpy as np

import anyback as ab
from anyback.plots import plot_parity

logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
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

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert "numpy" in libraries

# %% [markdown]
# ## The same lines on each · 同じコードをそれぞれで
#
# Only the name of the library changes.
#
# 変わるのはライブラリの名前だけです。
#
# The first run of a library includes what it does once, such as compiling; it says little about how fast it is later.
#
# 最初の実行には、コンパイルのように一度だけ行う処理の時間も含まれます。2回目以降の速さは、この時間からは分かりません。

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

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
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
kept = []
for name in libraries:
    net = ab.load_model(model, backend=name)
    x = ab.asarray(test.images[:5], backend=name)
    y = net(x)
    kept.append(type(y) is type(x))
    print(f"{name:6} {type(x).__name__} in, {type(y).__name__} out, on {net.backend}")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert len(kept) == len(libraries)
assert all(kept)

# %% [markdown]
# Arrays of two libraries never mix silently. The error names both, and the call that moves one:
#
# 2つのライブラリの配列が、気づかないうちに混ざることはありません。
# エラーには、両方の名前と、一方へ移すための呼び出しが示されます。

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
print(said)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert "do not mix" in said or len(libraries) == 1

# %% [markdown]
# ## In and out without a copy · コピーせずに渡す
#
# Libraries hand arrays to each other by DLPack: both then look at the same memory.
#
# ライブラリ同士はDLPackで配列を受け渡し、同じメモリを共有できます。
#
# Here an array of NumPy becomes one of PyTorch, goes through the network there, and its answer becomes an array of
# NumPy again. A change on one side is seen on the other, so nothing was copied. A library that is not installed is left
# out.
#
# ここでは、NumPyの配列をPyTorchの配列にしてネットワークに通し、その答えをまたNumPyの配列にします。
# 一方を変更するともう一方にも現れるので、コピーされていないことが分かります。
# インストールされていないライブラリの部分は、飛ばされます。

# %%
if "torch" in libraries:
    import torch

    net = ab.load_model(model, backend="torch:cpu")
    pixels = (test.images[:5] / test.images.max()).astype(np.float32)
    there = torch.from_dlpack(pixels)
    y = net(there)
    back = np.from_dlpack(y)
    pixels[0, 0, 0] = 0.5
    print("NumPy wrote 0.5, and PyTorch sees", float(there[0, 0, 0]))
    print("NumPy looks at PyTorch's answer:", back.argmax(axis=1))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if "torch" in libraries:
    assert float(there[0, 0, 0]) == 0.5, "the way in copied"
    assert back.__array_interface__["data"][0] == y.data_ptr(), "the way out copied"

# %%
if "jax" in libraries:
    import jax

    with ab.use_backend("jax:cpu"):
        y = ab.load_model(model)(ab.asarray(test.images[:5]))
    back = np.from_dlpack(y)
    print("NumPy looks at the answer of JAX", jax.__version__, "-", back.argmax(axis=1))
    print("and may change it:", back.flags.writeable)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if "jax" in libraries:
    assert back.__array_interface__["data"][0] == y.unsafe_buffer_pointer(), (
        "the way out copied"
    )
    assert not back.flags.writeable, "arrays of JAX cannot be changed, by NumPy neither"

# %%
if "cupy" in libraries:
    import cupy

    net = ab.load_model(model, backend="cupy")
    y = net(cupy.asarray(test.images[:5]))
    again = cupy.from_dlpack(y)
    print("CuPy's answer stays on the GPU:", again.argmax(axis=1))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if "cupy" in libraries:
    assert again.data.ptr == y.data.ptr, "copied"

# %% [markdown]
# ## Is it really the same? · 本当に同じ答えか
#
# The parity report runs the network on every library and device, and compares each with float64.
#
# パリティレポートは、すべてのライブラリとデバイスでネットワークを実行し、それぞれをfloat64の結果と比べます。

# %% tags=["html"]
report = ab.parity(model, test.images[:1000], test.labels[:1000], backends=libraries)
report

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert report.ok, report.notes()

# %% [markdown]
# The same as a picture. Full float32 stays left of the tolerance; the shorter numbers that a GPU may use for products,
# imitated here, do not. That is why anyback asks for full precision unless it is told otherwise.
#
# 同じ内容を図にしました。float32の全桁を使った計算は、許容誤差（tolerance）の左側に収まります。
# GPUが積の計算に使うことのある桁の少ない数（ここではそれを模したもの）では、収まりません。
# そのため、anybackは、指定がなければ全桁の精度で計算します。

# %% tags=["picture"]
ax = plot_parity(report)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert all(row.max_error <= 2e-6 for row in report.rows if not row.simulated)
