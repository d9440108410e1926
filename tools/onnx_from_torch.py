"""Networks of PyTorch with random weights, as its two exporters write them."""

from __future__ import annotations

import copy
import functools
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnx_sample import Maker, Sample
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MAKERS"]


class Residual(nn.Module):
    """A block of ResNet-18: two convolutions beside a way that leaves the numbers alone."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.ahead = nn.Sequential(
            *normalized(nn.Conv2d(channels, out, 3, stride, 1, bias=False)),
            nn.ReLU(),
            *normalized(nn.Conv2d(out, out, 3, 1, 1, bias=False)),
        )
        self.past: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.past = nn.Sequential(*normalized(nn.Conv2d(channels, out, 1, stride, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.ahead(x) + self.past(x))


class Squeeze(nn.Module):
    """Channels weighed by what is in the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            *(nn.Conv2d(channels, channels // 4, 1), nn.ReLU()),
            *(nn.Conv2d(channels // 4, channels, 1), nn.Hardsigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)


class Depthwise(nn.Module):
    """A block of MobileNet: channels widened, each convolved alone, weighed, and narrowed."""

    def __init__(self, channels: int, out: int, size: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        wide = 4 * channels
        self.ahead = nn.Sequential(
            *(*normalized(nn.Conv2d(channels, wide, 1, bias=False)), act()),
            *normalized(nn.Conv2d(wide, wide, size, stride, size // 2, groups=wide, bias=False)),
            *(act(), Squeeze(wide), *normalized(nn.Conv2d(wide, out, 1, bias=False))),
        )
        self.same = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.ahead(x) if self.same else self.ahead(x)


class UNet(nn.Module):
    """Two steps down and two up, with the finer images beside; one step up is learned, one is interpolated."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first, self.second, self.third = twice(3, 16), twice(16, 32), twice(32, 64)
        self.up = nn.ConvTranspose2d(64, 32, 2, 2)
        self.fourth, self.fifth = twice(64, 32), twice(48, 16)
        self.last = nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(functional.max_pool2d(first, 2))
        y = self.up(self.third(functional.max_pool2d(second, 2)))
        y = self.fourth(torch.cat([y, second], 1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(self.fifth(torch.cat([y, first], 1)))


class Attentive(nn.Module):
    """A layer of a transformer that is normalised before each part and looks back alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        parts = self.project(self.norms[0](x)).reshape(n, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.merge(y.transpose(1, 2).reshape(n, t, width))
        return x + self.dense(self.norms[1](x))


class Transformer(nn.Module):
    """Tokens to the scores of the next one."""

    def __init__(self, tokens: int = 97, length: int = 24, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(*[Attentive(width, heads) for _ in range(layers)])
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return self.last(self.norm(self.layers(self.words(x) + self.places(places))))


class Recurrent(nn.Module):
    """An LSTM of two layers in both directions, and a GRU behind it."""

    def __init__(self, width: int = 12, hidden: int = 24, classes: int = 7) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gru(self.lstm(x)[0])[0][:, -1])


def normalized(conv: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    return conv, nn.BatchNorm2d(conv.out_channels)


def twice(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        *(*normalized(nn.Conv2d(channels, out, 3, padding=1)), nn.ReLU()),
        *(*normalized(nn.Conv2d(out, out, 3, padding=1)), nn.ReLU()),
    )


def mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(256, 128), nn.Sigmoid(), nn.Linear(128, 10), nn.Softmax(dim=1)),
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


def resnet18() -> nn.Module:
    channels, blocks = 64, []
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Residual(channels, out, stride), Residual(out, out, 1)]
        channels = out
    return nn.Sequential(
        *(*normalized(nn.Conv2d(3, 64, 7, 2, 3, bias=False)), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)),
    )


def mobilenet() -> nn.Module:
    return nn.Sequential(
        *(*normalized(nn.Conv2d(3, 16, 3, 2, 1, bias=False)), nn.Hardswish()),
        *(Depthwise(16, 16, 3, 1, nn.ReLU), Depthwise(16, 24, 3, 2, nn.ReLU6), Depthwise(24, 24, 5, 1, nn.Hardswish)),
        *(Depthwise(24, 40, 5, 2, nn.Hardswish), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Linear(40, 128), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(128, 100), nn.LogSoftmax(1)),
    )


def images(*shape: int) -> Tensor:
    return torch.randn(shape)


def tokens() -> Tensor:
    return torch.randint(97, (5, 24))


#: Network -> what makes it, what makes its input, and the axis of its labels.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int | None]] = {
    "mlp": (mlp, functools.partial(images, 37, 1, 28, 28), -1),
    "lenet": (lenet, functools.partial(images, 17, 1, 28, 28), -1),
    "resnet18": (resnet18, functools.partial(images, 3, 3, 64, 64), -1),
    "mobilenet": (mobilenet, functools.partial(images, 5, 3, 64, 64), -1),
    "unet": (UNet, functools.partial(images, 3, 3, 48, 64), 1),
    "transformer": (Transformer, tokens, -1),
    "lstm-gru": (Recurrent, functools.partial(images, 6, 15, 12), -1),
}


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose batch normalisations have seen something, as those of a trained one have."""
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module


def export(network: str, dynamo: bool) -> Sample:
    """Return a network as one of the exporters writes it."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here uses
    make, draw, axis = NETWORKS[network]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(7)
        module, x = trained(make), draw()
        wanted = copy.deepcopy(module).double()(x.double() if x.is_floating_point() else x)
        model = written(module, x, dynamo)
    return Sample(model, {"x": x.numpy()}, axis, {"y": np.asarray(wanted)})


def written(module: nn.Module, x: Tensor, dynamo: bool) -> bytes:
    names: dict[str, Sequence[str]] = {"input_names": ["x"], "output_names": ["y"]}
    if dynamo:
        rows: Any = ({0: torch.export.Dim("n", min=1, max=4096)},)
        program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=rows, verbose=False, **names)
        return program.model_proto.SerializeToString()
    file = io.BytesIO()
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    torch.onnx.export(module, (x,), file, dynamo=False, dynamic_axes=axes, opset_version=17, **names)
    return file.getvalue()


MAKERS: dict[str, Maker] = {
    f"torch {network}{', dynamo' if dynamo else ''}": functools.partial(export, network, dynamo)
    for network in NETWORKS
    for dynamo in (False, True)
}
