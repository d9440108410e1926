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
# A network is used in two phases. In **training**, its weights are changed until its answers fit examples whose answers
# are known. In **inference**, the weights stay as they are, and it answers what it has not seen. Chapter 3 and this
# notebook are about inference: the weights were trained by the authors of the book, and we load them.
#
# ネットワークの利用には、2つの段階があります。
# **学習**（training）では、答えの分かっている例に出力が合うように、重みを変えていきます。
# **推論**（inference）では、重みを変えずに、まだ見たことのない入力に答えます。
# 3章とこのノートブックで扱うのは推論です。本の著者が学習した重みを読み込んで使います。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import logging
import time

import matplotlib.pyplot as plt
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

logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## Load · 読み込む
#
# The test images of MNIST are downloaded once (1.6 MB); where that fails, digits that come with anyback are used.
#
# MNISTのテスト画像は最初に一度だけダウンロードされます（1.6 MB）。
# ダウンロードできない場合は、anybackに付属する数字を使います。

# %% tags=["html"]
try:
    test, net = ab.datasets.mnist("test"), ab.load_model("mnist-mlp")
except ab.DataError as error:
    print(f"MNIST is not at hand, so the embedded digits are used: {error}")
    test, net = ab.datasets.digits("test"), ab.load_model("digits-mlp")
test

# %% [markdown]
# An image is an array of bytes: 0 is black, and the largest number is white. `test.images` holds all of them, and
# `test.labels` says which digit each one is. The network divides by the largest number itself, so nothing is
# normalised by hand here.
#
# 1枚の画像はバイトの配列で、0が黒、最大の数が白を表します。
# `test.images` にはすべての画像が、`test.labels` にはそれぞれがどの数字かが入っています。
# 最大の数で割る処理（正規化）はネットワークが行うので、
# ここで自分で行う必要はありません。

# %%
print(
    test.images.shape, test.images.dtype, "from", test.images.min(), "to", test.images.max()
)
print(test.labels.shape, test.labels[:10])

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert test.images.ndim == 3
assert len(test.images) == len(test.labels) == len(test)

# %% [markdown]
# ## Show one image · 1枚を表示する
#
# An image shows itself, here and without another program.
#
# 画像は、別のプログラムなしに、この場に表示されます。
#
# The book's `img_show` hands an image to another program on the desktop, which opens a window. On a server, and in a
# notebook in the browser, there is no such program. Here an `Image` is the last line of a cell; it takes an array of
# shape (28, 28) as well as a flattened one of shape (784,), which the book first has to reshape.
#
# 本の `img_show` は、デスクトップの別のプログラムに画像を渡し、ウィンドウを開きます。
# サーバーや、ブラウザで開いたノートブックでは、そのようなプログラムは使えません。
# ここでは、セルの最後の行に `Image` を書きます。
# 形状は (28, 28) でも、一列に並べた (784,) でもかまいません。本のように `reshape` で元に戻す必要はありません。

# %% tags=["picture"]
Image(test.images[0])

# %% [markdown]
# On a terminal, where nothing can be drawn, the same object prints as blocks:
#
# 絵を描けない端末では、同じオブジェクトがブロック文字で表示されます。

# %%
print(Image(test.images[0]))

# %% [markdown]
# ## The network · ネットワーク
#
# It takes the pixels of an image and gives a probability for each of the ten digits.
#
# 画像のピクセルを受け取り、10個の数字それぞれの確率を返します。
#
# The table says what each step takes and gives, and how many weights it has; the picture below shows the same from top
# to bottom. Many classes, so the last step is the softmax.
#
# 表には、計算の各段階が受け取る形状と返す形状、そして重みの個数が示されています。
# その下の図は、同じものを上から下へ順に描いたものです。多クラス分類なので、最後はソフトマックス関数です。

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

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
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
print("the same digits:", at_once.argmax(axis=1).tolist() == one_by_one)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert at_once.argmax(axis=1).tolist() == one_by_one

# %% [markdown]
# ## Why a batch is faster · バッチ処理はなぜ速いのか
#
# The multiplications are as many as before, so it is not that less is calculated. Three other things become cheaper:
#
# 掛け算の回数は同じなので、計算量が減るわけではありません。次の3つの手間が減るのです。
#
# 1. **Calls.** Python calls each product and each activation, and a call costs some microseconds however small its
#    arrays are. One by one, each image pays for all of them; in a batch of a hundred, a hundred images share them.
# 2. **Memory.** A processor calculates faster than memory delivers. One by one, the weights are fetched again for each
#    image, each to be used once; in a batch, they are fetched once, and each is used for every image.
# 3. **The BLAS.** The library that multiplies for NumPy is at its best with a matrix times a matrix: it cuts both into
#    blocks that stay in the fast memory of the processor, and shares them among its cores. One image is a vector, and
#    leaves it little to arrange. A GPU, with its thousands of units, needs large batches even more.
#
# 1. **呼び出し。** Pythonは行列の積や活性化関数を1つずつ呼び出します。
#    どんなに小さな配列でも、1回の呼び出しに数マイクロ秒かかります。
#    1枚ずつでは、画像ごとにそのすべての時間がかかります。100枚のバッチなら、100枚で1回分です。
# 2. **メモリ。** プロセッサが計算する速さに、メモリからのデータ転送は追いつきません。
#    1枚ずつでは、画像ごとに重みを読み直し、それぞれ1度しか使いません。
#    バッチなら、重みを1度読めば、すべての画像に使えます。
# 3. **BLAS。** NumPyの行列の積を計算するライブラリBLASは、行列と行列の積が最も得意です。
#    行列をブロックに分けてプロセッサ内の高速なメモリに置き、複数のコアで分担します。
#    1枚の画像はベクトルなので、工夫の余地がほとんどありません。
#    数千個の演算器を持つGPUでは、大きなバッチがさらに重要です。

# %%
n = 1024
many = np.resize(test.images, (n, *test.images.shape[1:]))  # repeated where they are fewer
weights = sum(ab.to_numpy(array).nbytes for array in net.arrays)
print(f"the weights are {weights / 1e6:.2f} MB; for {n} images they are taken from memory")
for size in (1, 32, n):
    calls = n // size
    print(f"{calls:5} times, {calls * weights / 1e6:7.2f} MB in all, in batches of {size}")

# %% [markdown]
# Now we measure it. The curve falls steeply at first, where each image pays for the calls, and becomes flat where the
# calls are shared by so many images that the calculation itself is all that is left. The axes are logarithmic.
#
# では、測ってみましょう。はじめは1枚ごとに呼び出しの時間がかかっているので、バッチを大きくすると急に下がります。
# 呼び出しの時間を多くの画像で分け合い、計算そのものの時間だけが残ると、平らになります。両方の軸は対数です。


# %% tags=["picture"]
def seconds_per_image(size):
    batches = [ab.asarray(many[i : i + size]) for i in range(0, n, size)]
    ab.to_numpy(net(batches[0]))  # the first run of some libraries compiles
    best = float("inf")
    for _ in range(3):  # the best of three: other programs only ever add time
        begin = time.perf_counter()
        for batch in batches:
            ab.to_numpy(net(batch))
        best = min(best, time.perf_counter() - begin)
    return best / n


batch_sizes = [2**k for k in range(11)]  # 1, 2, 4, ..., 1024
each = [seconds_per_image(size) for size in batch_sizes]

_, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.loglog(batch_sizes, [1e6 * seconds for seconds in each], marker="o", color="#0072B2")
ax.set_xticks(batch_sizes, [str(size) for size in batch_sizes], minor=False)
ax.minorticks_off()
ax.grid(alpha=0.3)
_ = ax.set(xlabel="images in a batch", ylabel="microseconds per image")
print(f"an image alone takes {each[0] / min(each):.0f} times as long as in the best batch")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert min(each) < each[0] / 2, "a batch takes less time for each image"
assert ax.get_lines()[0].get_xdata().tolist() == batch_sizes

# %% [markdown]
# `predict` cuts its input into batches: `batch_size` says how many rows are moved and computed at a time. It changes
# memory and time, and never an answer: not the last bit of it.
#
# `predict` は入力をバッチに分けます。`batch_size` は、一度に移して計算する行の数です。
# それによって変わるのは、使うメモリと時間だけです。答えは、最後の1ビットまで変わりません。

# %%
for size in (1, 7, 100, 500):
    again = ab.to_numpy(ab.predict(net, some, batch_size=size))
    same = again.tobytes() == at_once.tobytes()
    print(f"batch_size={size:<3}", "the same bits" if same else "other bits")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
for size in (1, 7, 100, 500):
    again = ab.to_numpy(ab.predict(net, some, batch_size=size))
    assert again.tobytes() == at_once.tobytes()

# %% [markdown]
# ## How often is it right? · どれくらい正解するのか
#
# The accuracy is the share of images that are read rightly.
#
# 認識精度（accuracy）は、正しく読めた画像の割合です。

# %% tags=["html"]
result = ab.evaluate(net, test.images, test.labels)
print(result)
result

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
if test.name == "mnist":
    assert (result.correct, result.total, result.accuracy) == (9352, 10_000, 0.9352)
else:
    assert result.accuracy >= 0.95

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

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert wrong.sum() == result.total - result.correct

# %% [markdown]
# ## And why · なぜ間違えるのか
#
# Some digits look alike, and the network often knows that it is in doubt.
#
# 似た形の数字があり、ネットワーク自身も迷っていることが多いのです。
#
# The picture below counts which digit was read as which. The darkest orange is the commonest mistake, and its images
# follow.
#
# 次の図は、どの数字がどの数字と読まれたかを数えたものです（混同行列）。最も濃いオレンジが、最も多い間違いです。
# その画像を、図の下に示します。

# %% tags=["picture"]
ax = plot_confusion(result)

# %% tags=["html"]
mistakes = result.confusion * (1 - np.eye(10, dtype=int))
true, read = np.unravel_index(mistakes.argmax(), mistakes.shape)
print(f"the commonest mistake: a {true} read as a {read}, {mistakes[true, read]} times")
test[(result.labels == true) & (result.predictions == read)]

# %% [markdown]
# Among the ten probabilities of a wrong answer, the right digit is often the second choice. On average the network is
# less sure where it is wrong:
#
# 間違えた答えでも、10個の確率を見ると、正解の数字が2番目になっていることがよくあります。
# 平均すると、ネットワークは、間違えるときほど自信がありません。

# %% tags=["picture"]
outputs = ab.to_numpy(ab.predict(net, test.images))
sure = outputs.max(axis=1)
doubtful = int(np.flatnonzero(wrong)[np.argmin(sure[wrong])])
ax = plot_probabilities(test.images[doubtful], outputs[doubtful], test.labels[doubtful])

print(f"mean probability of the answer where it is right: {sure[~wrong].mean():.3f}")
print(f"                               where it is wrong: {sure[wrong].mean():.3f}")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert sure[wrong].mean() < sure[~wrong].mean()

# %% [markdown]
# The network sees no shapes. Each neuron of the first layer adds up the pixels, some counted for (blue) and some
# against (red): a digit that is moved or slanted covers other pixels, and adds up to something else.
#
# このネットワークは、形を見ているわけではありません。
# 1層目の各ニューロンは、ピクセルに正の重み（青）や負の重み（赤）を掛けて、足し合わせるだけです。
# 数字がずれたり傾いたりすると、別のピクセルに重なり、和が変わってしまいます。

# %% tags=["picture"]
ax = plot_weights(net, limit=20)
