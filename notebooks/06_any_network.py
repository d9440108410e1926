# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Any network · どんなネットワークでも
#
# Networks of PyTorch and scikit-learn become ONNX files, and anyback runs such a file on any array library.
#
# PyTorchやscikit-learnのネットワークをONNXファイルに書き出し、
# anybackを使って、どの配列ライブラリの上でも動かします。
#
# It needs `pip install 'anyback[jax,plot,torch]' skl2onnx`. Where one is missing, what needs it is left out.
#
# `pip install 'anyback[jax,plot,torch]' skl2onnx` が必要です。ライブラリがない場合、その部分は省かれます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import logging
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import anyback as ab
from anyback.plots import plot_confusion, plot_parity

try:
    import onnx
    import skl2onnx
    import torch
except ImportError as error:
    print("no ONNX files can be written here:", error)
    torch = None

usable = [name for name, status in ab.available_backends().items() if status.usable]
print("array libraries:", ", ".join(usable))
logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
print("new arrays are made on", ab.get_backend())
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A network of PyTorch · PyTorchのネットワーク
#
# Two convolutions with an average between them are trained for some seconds on the digits that come with anyback.
#
# 平均プーリングを挟んだ2つの畳み込み層を、付属の数字データで数秒間学習します。

# %%
train, test = ab.datasets.digits("train"), ab.datasets.digits("test")
x_train = train.images[:, None].astype(np.float32) / 16  # (1297, 1, 8, 8)
x_test = test.images[:, None].astype(np.float32) / 16  # (500, 1, 8, 8)

if torch is not None:
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
        nn.Softmax(dim=1),
    )
    images = torch.from_numpy(x_train)
    labels = torch.from_numpy(train.labels.astype(np.int64))
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(15):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(
                torch.log(module(images[rows]) + 1e-9), labels[rows]
            )
            loss.backward()
            optimizer.step()
    module.eval()
    print("loss of the last batch:", float(loss.detach()))

# %% [markdown]
# ## To a file and back · ファイルに書き出し、読み込む
#
# One call of PyTorch writes the file, one call of anyback reads it; the package `onnx` is not needed for reading.
#
# 書き出しはPyTorchの1回の呼び出し、読み込みはanybackの1回の呼び出しです。
# 読み込みに `onnx` パッケージは必要ありません。
#
# `dynamic_axes` says that the number of images is free. `dynamo=False` chooses the exporter that needs no other
# package, and that warns of being the older one; anyback reads what the newer one writes, too.
#
# `dynamic_axes` は、画像の枚数が決まっていないことを表します。`dynamo=False` を指定すると、
# ほかのパッケージを必要としない古いほうの書き出し機能が使われ、そのことが警告されます。
# anybackは、新しいほうで書き出したファイルも読み込めます。


# %%
def export(module, inputs, path, takes, gives):
    rows = {name: {0: "n"} for name in (*takes, *gives)}
    names = {"input_names": takes, "output_names": gives, "dynamic_axes": rows}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, inputs, path, dynamo=False, **names)


# %% [markdown]
# The table shows what is in the file: the batch normalisation is gone, since it became a part of the convolution before
# it.
#
# 表を見ると、ファイルの中身がわかります。バッチ正規化は、直前の畳み込みに組み込まれて、なくなっています。

# %% tags=["html"]
if torch is None:
    print("the network that comes with anyback is used")
    net, x_test = ab.load_model("digits-mlp"), x_test[:, 0]
else:
    export(module, (images[:1],), folder / "digits.onnx", ["image"], ["digit"])
    net = ab.load_model(folder / "digits.onnx")
net

# %% [markdown]
# ## The same labels · 同じ答え
#
# `predict` and `evaluate` take it like any other network, and the labels are those of PyTorch.
#
# ほかのネットワークと同じように `predict` や `evaluate` に渡せ、答えはPyTorchと一致します。

# %% tags=["picture"]
result = ab.evaluate(net, x_test, test.labels)
print(result)
ax = plot_confusion(result)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert result.accuracy > 0.95

# %%
ours = ab.to_numpy(ab.predict(net, x_test))
if torch is not None:
    with torch.no_grad():
        theirs = module(torch.from_numpy(x_test)).numpy()
    print("largest difference of a probability:", np.abs(ours - theirs).max())

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if torch is not None:
    assert np.abs(ours - theirs).max() < 5e-6
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).all()

# %% [markdown]
# ## On every library · どのライブラリでも
#
# `net.to("jax")` is the same network there, and takes arrays of JAX.
#
# `net.to("jax")` は同じネットワークをJAXに移したもので、JAXの配列を受け取ります。

# %%
labels_there = {}
for name in usable:
    there = net.to(name)
    y = there(ab.asarray(x_test, backend=name))
    labels_there[name] = ab.to_numpy(y).argmax(axis=1)
    print(f"{name:17}{type(y).__module__}.{type(y).__name__} on {there.backend}")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
for found in labels_there.values():
    assert (found == result.predictions).all()

# %% [markdown]
# ## Is it really the same? · 本当に同じ答えか
#
# The parity report holds each library against float64.
#
# パリティレポートは、各ライブラリの結果をfloat64の結果と比べます。

# %% tags=["html"]
report = ab.parity(net, x_test, test.labels)
report

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert report.ok, report.notes()

# %% tags=["picture"]
ax = plot_parity(report)

# %% [markdown]
# ## Gradients · 勾配
#
# A network from a file can be differentiated: by JAX, although it was PyTorch that trained it.
#
# ファイルから読んだネットワークも微分できます。PyTorchで学習したものを、JAXで微分してみます。
#
# The gradient of the winning probability says which pixels matter: where it is red, a brighter pixel makes the answer
# surer, and where it is blue, less sure. PyTorch's own gradient of the network that it trained is the same.
#
# 答えの確率の勾配を見ると、どのピクセルが重要かがわかります。赤いところは、明るくすると答えの確信が強まり、
# 青いところは弱まります。学習に使ったPyTorch自身で求めた勾配も、これと一致します。

# %% tags=["picture"]
row = int(np.argmin(ours.max(axis=1)))  # the image that the network is least sure of
answer = int(ours[row].argmax())
image, gradient, by_torch = x_test[row : row + 1], None, None
if "jax" in usable:
    import jax

    there = net.to("jax")
    probability = jax.jit(lambda x: there(x)[0, answer])
    gradient = np.asarray(jax.grad(probability)(ab.asarray(image, backend="jax")))
if gradient is not None and torch is not None:
    leaf = torch.from_numpy(image).requires_grad_()
    module(leaf)[0, answer].backward()
    by_torch = leaf.grad.numpy()

_, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
axes[0].imshow(image.reshape(8, 8), cmap="gray")
axes[0].set(title=f"read {answer}, is {test.labels[row]}", xticks=[], yticks=[])
if gradient is not None:
    most = np.abs(gradient).max()
    axes[1].imshow(gradient.reshape(8, 8), cmap="RdBu_r", vmin=-most, vmax=most)
_ = axes[1].set(title=f"what makes it a {answer}", xticks=[], yticks=[])

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if by_torch is not None:
    np.testing.assert_allclose(gradient, by_torch, rtol=1e-3, atol=1e-5)

# %% [markdown]
# ## A pipeline of scikit-learn · scikit-learnのパイプライン
#
# A scaler, principal components and a logistic regression are a network as well, once they are a file.
#
# 標準化・主成分分析・ロジスティック回帰のパイプラインも、ファイルにすれば1つのネットワークです。
#
# Its labels here are words. A network gives numbers, so its output is the probabilities, and `classes` says what each
# column stands for.
#
# ここではラベルが単語です。ネットワークが返すのは数なので、出力は確率になり、
# それぞれの列が何を表すかは `classes` でわかります。

# %% tags=["html"]
words = np.asarray(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
)
pixels, pixels_test = x_train.reshape(-1, 64), x_test.reshape(-1, 64)
classifier = None
if torch is not None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), PCA(20), LogisticRegression(max_iter=500))
    pipeline.fit(pixels, words[train.labels])

    written = skl2onnx.to_onnx(pipeline, pixels[:1])
    (folder / "pipeline.onnx").write_bytes(written.SerializeToString())
    classifier = ab.load_model(folder / "pipeline.onnx")
    print("classes:", classifier.classes)
classifier

# %%
if classifier is not None:
    probabilities = ab.to_numpy(ab.predict(classifier, pixels_test))
    read = np.asarray(classifier.classes)[probabilities.argmax(axis=1)]
    print("read:", read[:5], " right:", words[test.labels[:5]])

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if classifier is not None:
    assert (read == pipeline.predict(pixels_test)).all()
    assert np.abs(probabilities - pipeline.predict_proba(pixels_test)).max() < 1e-5

# %% tags=["html"]
if classifier is not None:
    places = [classifier.classes.index(word) for word in words[test.labels]]
    report = ab.parity(classifier, pixels_test, places)
report

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert report.ok, report.notes()

# %% [markdown]
# ## Several inputs and outputs · 複数の入力と出力
#
# Inputs are passed by name or in order, and several outputs come as a dictionary.
#
# 入力は名前でも順番でも渡せ、複数の出力は辞書で返ります。
#
# This module reads two images with the network from above, and says how likely both show the same digit, and what the
# sum of the two is expected to be. `select` takes one output, and leaves out what only the others need.
#
# このモジュールは、上のネットワークで2枚の画像を読み、同じ数字である確率と、2つの数字の和の期待値を返します。
# `select` は出力を1つだけ選び、ほかの出力だけに必要な計算を省きます。

# %%
if torch is not None:

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = module

        def forward(self, first, second):
            p, q = self.read(first), self.read(second)  # (n, 10)
            digits = torch.arange(10, dtype=p.dtype)
            return (p * q).sum(dim=1), p @ digits + q @ digits

    two = images[:1], images[1:2]
    path = folder / "pair.onnx"
    export(Pair().eval(), two, path, ["first", "second"], ["same", "total"])
    pair = ab.load_model(path)
    # Beside the first two images, others of the same digit; beside the next two, whatever comes.
    others = [np.flatnonzero(test.labels == label)[1] for label in test.labels[:2]]
    a, b = x_test[:4], x_test[[*others, 4, 5]]
    both = pair(first=ab.asarray(a), second=ab.asarray(b))
    with torch.no_grad():
        expected = Pair()(torch.from_numpy(a), torch.from_numpy(b))
    for name, y in both.items():
        print(f"{name:6}", ab.to_numpy(y).round(3))
    same = pair.select("same")(ab.asarray(a), ab.asarray(b))
    print("alone ", ab.to_numpy(same).round(3))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if torch is not None:
    for y, wanted in zip(both.values(), expected, strict=True):
        np.testing.assert_allclose(ab.to_numpy(y), wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert (ab.to_numpy(same) == ab.to_numpy(both["same"])).all()

# %% [markdown]
# ## What is missing says so · 足りないものは名前で示される
#
# A file with operators that anyback does not have is refused when it is loaded, and one error names them all.
#
# anybackにない演算子を含むファイルは、読み込むときにエラーとなり、足りない演算子がすべて示されます。

# %%
if torch is not None:
    model = onnx.load(folder / "pipeline.onnx")
    for node in model.graph.node[:2]:
        node.op_type, node.domain = f"My{node.op_type}", "com.example"
    model.opset_import.add(domain="com.example", version=1)
    onnx.save(model, folder / "unknown.onnx")
    message = "nothing is missing"
    try:
        ab.load_model(folder / "unknown.onnx")
    except ab.OperatorError as error:
        message = str(error).replace(str(folder), ".")
    print(message)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if onnx is not None:
    assert all(node.op_type in message for node in model.graph.node[:2])
