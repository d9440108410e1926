"""JAX's own ways to compute ops, where XLA's are not exact enough or take longer than they need."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from anyback._typing import Array
from anyback.backends._ways import Kernel
from anyback.plan import Shape

__all__ = ["OWN"]


def _on_cpu(x: Array) -> bool:
    """Return whether an array is on a CPU; of one that is traced, whether JAX is told so, or knows no other device."""
    import jax

    if not isinstance(x, jax.core.Tracer):
        return all(device.platform == "cpu" for device in x.devices())
    told = jax.config.jax_default_device
    if told is not None:
        return str(getattr(told, "platform", told)) == "cpu"
    # Of several platforms the first is the usual one, and the array may be on another.
    return jax.default_backend() == "cpu" and "," not in (jax.config.jax_platforms or "")


def _wide(compute: Callable[[Array], Array], x: Array) -> Array:
    """Compute in float64 between also where JAX is told to have none, in half the time of sums made exact in float32.

    The derivative is that in float32, since JAX would compute it outside of the scope that has float64.
    """
    import jax

    if x.dtype != "float32" or jax.config.jax_enable_x64 or not _on_cpu(x):
        return compute(x)

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def wide(x: Array) -> Array:
        with jax.enable_x64(True):
            return compute(x)

    @wide.defjvp  # type: ignore[untyped-decorator]
    def derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return wide(*primals), jax.jvp(compute, primals, tangents)[1]

    return wide(x)


def _sigmoid(x: Array) -> Array:
    import jax

    return jax.nn.sigmoid(x)


def _tanh(x: Array) -> Array:
    """Return the hyperbolic tangent to within 4 units in the last place, given an `exp` to within 2.

    XLA's own is off by up to 4.5 units in float32 and 6.5 in float64 on a CPU. Near 0, where ``1 - 2 / (exp(2 x) + 1)``
    would cancel, it is the eighth fraction of Lambert's, DLMF 4.39.1 (https://dlmf.nist.gov/4.39), times 7/8, so that
    both sums keep their last bit. One quotient at the end, since XLA computes anything else again for each place of a
    window that takes it: LeNet's first pooling took 33 ms behind it, and now 6.
    """
    import jax.numpy as xp

    a = xp.abs(x)
    near, square = a < 0.6, xp.square(xp.minimum(a, 0.6))
    above = _polynomial((31.5, 6063.75, 236486.25, 1773646.875), square)
    below = _polynomial((0.875, 551.25, 45478.125, 827701.875, 1773646.875), square)
    # Beyond 20 the answer is 1 in float64 too; the bound keeps exp finite.
    below = xp.where(near, below, xp.exp(2 * xp.minimum(a, 20.0)) + 1)
    return xp.where(near, x * above, xp.sign(x) * (below - 2)) / below


def _erf(compute: Callable[[Array], Array], x: Array) -> Array:
    """Return the error function of float32 to within 2 units in the last place, without an exponential.

    That takes two fifths of the time of the op's own function, and XLA's own is off by up to 5 units. The polynomials
    were fitted at Chebyshev nodes: of ``erf(x) / x - 1`` in the square up to 1.2, and of ``erfc(x) ** -(1/8)`` from
    there to 4, where `erfc` is 1.5e-8.
    """
    return _erf_of_float32(x) if x.dtype == "float32" else compute(x)


def _erf_of_float32(x: Array) -> Array:
    import jax.numpy as xp

    z = xp.minimum(xp.abs(x), 4.0)
    root = _polynomial(_TAIL, z)
    tail = xp.reciprocal(xp.square(xp.square(xp.square(root))))
    return xp.where(z < 1.2, x + x * _polynomial(_NEAR, xp.minimum(z * z, 1.44)), xp.sign(x) * (1 - tail))


_NEAR = (
    *(-8.030841101329491e-06, 0.00010620845076520948, -0.0008383663274229611, 0.005213252983773475),
    *(-0.026862331598527158, 0.11283723720269062, -0.37612634301753717, 0.12837916658284776),
)
_TAIL = (
    *(0.0007087153372569448, -0.006084761542900624, 0.028830873524394993, -0.06526755285119505),
    *(0.12915787996091982, -0.0069204377534335115, 0.19058340728750056, 0.9890989660438969),
)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    y = coefficients[0]
    for coefficient in coefficients[1:]:
        y = y * x + coefficient
    return y


def _erfc(compute: Callable[[Array], Array], x: Array) -> Array:
    """Return the complementary error function of float32 within the bounds of `anyback.bounds`.

    XLA's own is off by up to 6 units in the last place below 1, where it subtracts its error function from 1.
    """
    import jax.numpy as xp
    from jax.scipy.special import erfc

    return xp.where(xp.abs(x) < 1, 1 - _erf_of_float32(x), erfc(x)) if x.dtype == "float32" else compute(x)


def _gelu_by_erf(compute: Callable[[Array], Array], x: Array) -> Array:
    return 0.5 * x * (1 + _erf_of_float32(x * math.sqrt(0.5))) if x.dtype == "float32" else compute(x)


def _attention(q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float) -> Array:
    # Without the second part that `softmax` keeps of each difference: a fifth of the time of a small transformer.
    import jax

    scores = jax.numpy.matmul(q * scale, k.mT)
    if mask is not None:
        scores = scores + mask[(None,) * (4 - mask.ndim) + (...,)]  # JAX may be told to promote no ranks
    return jax.numpy.matmul(jax.nn.softmax(scores), v)


def _conv(
    slices: Callable[..., Array],
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Shape,
    padding: Any,
    dilation: Shape,
    groups: int,
) -> Array:
    """Convolve images one by one on a CPU, each as slices of the image and a product, or as XLA does it.

    Slices and product of one image stay in the cache, and XLA multiplies stacks four times as slowly: LeNet's
    convolutions of 1,000 images take 20 ms, XLA's own 46.
    """
    import jax

    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    places, depth = math.prod(weight.shape[2:]), math.prod(weight.shape[1:])
    columns = math.prod(x.shape[2:]) * depth // math.prod(stride)
    on_cpu = _on_cpu(x)
    large = depth >= _DEEP and (places >= _SOME or (places > 1 and columns >= _LARGE))
    whole = on_cpu and groups == 1 and (large or places >= 2 * _SOME)
    # Elsewhere not where slices will do: a GPU's own may be Winograd's, which rounds otherwise.
    compute = _whole_conv if whole or places >= _MANY else slices
    by_channel = weight.shape[1] == 1 and weight.shape[0] == x.shape[1]  # a sum, without a product
    if x.shape[0] < 2 or columns < _MANY_NUMBERS or by_channel or not on_cpu:
        return compute(x, weight, bias, **attributes)
    return jax.lax.map(lambda image: compute(image[None, ...], weight, bias, **attributes)[0, ...], x)


#: From so many places of a window on, XLA compiles a slice for each for half a second, and for minutes. Its own takes
#: as long as slices or less, but not where a window has few numbers.
_SOME, _MANY = 24, 64
#: Numbers of an image's slices, from which on images are convolved one by one; and so many that they exceed the cache.
_MANY_NUMBERS, _LARGE, _DEEP = 1 << 12, 1 << 18, 100


def _whole_conv(
    x: Array, weight: Array, bias: Array | None, *, stride: Shape, padding: Any, dilation: Shape, groups: int
) -> Array:
    """Convolve by XLA's own convolution, channels last: in any other order it takes thirty times as long in a loop."""
    import jax

    axes = "DHW"[5 - x.ndim :]
    y = jax.lax.conv_general_dilated(
        *(jax.numpy.moveaxis(x, 1, -1), jax.numpy.moveaxis(weight, (0, 1), (-1, -2)), stride, padding),
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
        precision=jax.lax.Precision.HIGHEST,  # the algorithms of a precision are those of matrix products alone
    )
    y = jax.numpy.moveaxis(y, -1, 1)
    return y if bias is None else y + bias.reshape(1, -1, *[1] * (x.ndim - 2))


def _linear(compute: Callable[..., Array], x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply by zero columns to a multiple of 16: of 320 rows and 50 columns, XLA takes two thirds of the time so."""
    import jax

    columns = weight.shape[1]
    if x.ndim < 2 or x.shape[0] < _MANY_ROWS or not columns % 16 or not _on_cpu(x):
        return compute(x, weight, bias)
    return compute(
        x,
        *[
            None if w is None else jax.numpy.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, -columns % 16)])
            for w in (weight, bias)
        ],
    )[:, :columns]


#: Rows of a product from which on its weight is worth a copy.
_MANY_ROWS = 64
#: The kernels of JAX by the names of ops.
OWN = {
    "attention": Kernel(_attention),
    "conv": Kernel(_conv, around=True),
    "erf": Kernel(_erf, around=True),
    "erfc": Kernel(_erfc, around=True),
    "gelu_by_erf": Kernel(_gelu_by_erf, around=True),
    "linear": Kernel(_linear, around=True),
    "log_softmax": Kernel(_wide, around=True),
    "sigmoid": Kernel(_sigmoid),
    "softmax": Kernel(_wide, around=True),
    "tanh": Kernel(_tanh),
}
