# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Reading handwritten digits · 手書き数字を読む
#
# A trained network reads ten thousand images, and we look at what it gets right, what it gets wrong, and why.
#
# 学習済みのネットワークに1万枚の画像を読ませ、正解と間違い、そしてその理由を見ていきます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import time

import numpy as np

import anyback as ab
from anyback.plots import (
    Image,
    plot_confusion,
    plot_images,
    plot_network,
    plot_probabilities,
    plot_weights,
)

print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## Load · 読み込む
#
# The test images of MNIST are downloaded once (1.6 MB); where that fails, digits that come with anyback are used.
#
# MNISTのテスト画像は最初に一度だけダウンロードされます（1.6 MB）。
# できない場合は、anybackに付属する数字を使います。

# %% tags=["html"]
try:
    test, net = ab.datasets.mnist("test"), ab.load_model("mnist-mlp")
except ab.DataError as error:
    print(f"MNIST is not at hand, so the embedded digits are used: {error}")
    test, net = ab.datasets.digits("test"), ab.load_model("digits-mlp")
test

# %% [markdown]
# An image is an array of bytes: 0 is black, and the largest number is white. `test.images` holds all of them, and
# `test.labels` says which digit each one is.

# %%
print(
    test.images.shape, test.images.dtype, "from", test.images.min(), "to", test.images.max()
)
print(test.labels.shape, test.labels[:10])
assert test.images.ndim == 3
assert len(test.images) == len(test.labels) == len(test)

# %% [markdown]
# ## Show one image · 1枚を表示する
#
# An image shows itself, here and without another program.
#
# 画像は、別のプログラムなしに、この場に表示されます。

# %% tags=["picture"]
Image(test.images[0])

# %% [markdown]
# On a terminal, the same object prints as blocks:

# %%
print(Image(test.images[0]))

# %% [markdown]
# ## The network · ネットワーク
#
# It takes the pixels of an image and gives a probability for each of the ten digits.
#
# 画像のピクセルを受け取り、10個の数字それぞれの確率を返します。

# %% tags=["html"]
net

# %% tags=["picture"]
ax = plot_network(net)

# %% [markdown]
# ## One image · 1枚を読む
#
# The answer is the digit with the largest probability.
#
# 確率が最も大きい数字が、ネットワークの答えです。

# %% tags=["picture"]
image, label = test.images[0], test.labels[0]
probabilities = net(ab.asarray(image))  # (10,)
ax = plot_probabilities(image, probabilities, label)

answer = int(np.argmax(ab.to_numpy(probabilities)))
print("the network reads", answer, "and it is", label)
assert answer == label
assert abs(float(ab.to_numpy(probabilities).sum()) - 1.0) < 1e-6

# %% [markdown]
# ## Many images: batches · まとめて読む：バッチ
#
# A batch gives the same answers as one image at a time, and takes a small part of the time.
#
# まとめて計算しても答えは1枚ずつのときと同じで、時間はずっと短くなります。

# %%
some = test.images[:500]
ab.predict(net, some)  # the first run of some libraries compiles

start = time.perf_counter()
one_by_one = [int(np.argmax(ab.to_numpy(net(ab.asarray(image))))) for image in some]
middle = time.perf_counter()
at_once = ab.to_numpy(ab.predict(net, some))
end = time.perf_counter()

print(f"one by one: {middle - start:.3f} s   at once: {end - middle:.3f} s")
assert at_once.argmax(axis=1).tolist() == one_by_one

# %% [markdown]
# `batch_size` says how many rows are moved and computed at a time. It changes memory and time, and never an answer:
# not the last bit of it.

# %%
for size in (1, 7, 100, 500):
    assert (
        ab.to_numpy(ab.predict(net, some, batch_size=size)).tobytes() == at_once.tobytes()
    )

# %% [markdown]
# ## How often is it right? · どれくらい正解するのか
#
# The accuracy is the share of images that are read rightly.
#
# 認識精度（accuracy）は、正しく読めた画像の割合です。

# %% tags=["html"]
result = ab.evaluate(net, test.images, test.labels)
print(result)
if test.name == "mnist":
    assert (result.correct, result.total, result.accuracy) == (9352, 10_000, 0.9352)
else:
    assert result.accuracy >= 0.95
result

# %% [markdown]
# ## The ones it gets wrong · 間違えた画像
#
# Each is framed, with what the network read and what it is.
#
# 枠で囲まれた画像の下に、ネットワークの答え（read）と正解（is）を示します。

# %% tags=["picture"]
wrong = result.predictions != result.labels
ax = plot_images(
    test.images[wrong], test.labels[wrong], result.predictions[wrong], limit=20
)
assert wrong.sum() == result.total - result.correct

# %% [markdown]
# ## And why · なぜ間違えるのか
#
# Some digits look alike, and the network often knows that it is in doubt.
#
# 似た形の数字があり、ネットワーク自身も迷っていることが多いのです。
#
# The picture below counts which digit was read as which. The darkest orange is the commonest mistake.

# %% tags=["picture"]
ax = plot_confusion(result)

# %% tags=["html"]
mistakes = result.confusion * (1 - np.eye(10, dtype=int))
true, read = np.unravel_index(mistakes.argmax(), mistakes.shape)
print(f"the commonest mistake: a {true} read as a {read}, {mistakes[true, read]} times")
test[(result.labels == true) & (result.predictions == read)]

# %% [markdown]
# Beside the ten probabilities of a wrong answer, the right digit is often the second choice. On average the network
# is less sure where it is wrong:

# %% tags=["picture"]
outputs = ab.to_numpy(ab.predict(net, test.images))
sure = outputs.max(axis=1)
doubtful = int(np.flatnonzero(wrong)[np.argmin(sure[wrong])])
ax = plot_probabilities(test.images[doubtful], outputs[doubtful], test.labels[doubtful])

print(f"mean probability of the answer where it is right: {sure[~wrong].mean():.3f}")
print(f"                               where it is wrong: {sure[wrong].mean():.3f}")
assert sure[wrong].mean() < sure[~wrong].mean()

# %% [markdown]
# The network sees no shapes. Each neuron of the first layer adds up the pixels, some counted for (blue) and some
# against (red): a digit that is moved or slanted covers other pixels, and adds up to something else.

# %% tags=["picture"]
ax = plot_weights(net, limit=20)
