"""Files of ONNX inside packages: what they are called with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx_sample import Maker, Sample

from anyback import datasets

__all__ = ["PACKAGES", "makers"]

#: What is installed, without what it depends on.
PACKAGES = ("magika==1.0.3", "rapidocr-onnxruntime==1.4.4", "silero-vad==6.2.3")

Inputs = dict[str, np.ndarray]


def draw() -> np.random.Generator:
    return np.random.default_rng(11)


def beginnings() -> Inputs:
    """Return the first and last bytes of files, 256 where a file ends earlier; one file is text, one is noise."""
    text = np.frombuffer(b"import numpy as np\n\n\ndef main() -> None:\n    print(np.arange(10))\n" * 40, np.uint8)
    found = np.full((3, 2048), 256, np.int32)
    found[0, :1024], found[0, 1024:] = text[:1024], text[-1024:]
    found[1] = draw().integers(256, size=2048)
    found[2, :300] = text[:300]
    return {"bytes": found}


def pages(n: int, height: int, width: int) -> Inputs:
    """Return photographs of lines of handwritten digits, dark on light, from -1 to 1."""
    random, digits = draw(), datasets.digits("test").images
    x = np.full((n, 3, height, width), 0.9, np.float32)
    for image in x:
        for top in range(8, height - 31, 48):
            for left in range(8, width - 31, 28):
                digit = digits[random.integers(len(digits))].reshape(8, 8) / 16
                image[:, top : top + 32, left : left + 32] -= 1.8 * np.kron(digit, np.ones((4, 4)))
    return {"x": np.clip(x + random.normal(0, 0.03, x.shape), -1, 1).astype(np.float32)}


def sound(n: int, length: int, *, state: bool = True, rate: bool = True) -> Inputs:
    """Return a tone that grows, with noise, and the state of a voice detector before anything was heard."""
    time = np.arange(n * length, dtype=np.float32) / 16000
    x = np.sin(2 * np.pi * 180 * time) * time / time[-1] * 0.4 + draw().normal(0, 0.02, time.shape)
    found = {"input": x.astype(np.float32).reshape(n, length)}
    if state:
        found["state"] = draw().normal(0, 0.3, (2, n, 128)).astype(np.float32)
    if rate:
        found["sr"] = np.asarray(16000, np.int64)
    return found


def remembered() -> Inputs:
    found = sound(7, 576, state=False, rate=False)
    return found | {name: draw().normal(0, 0.3, (1, 1, 128)).astype(np.float32) for name in ("h", "c")}


OCR, VAD = "rapidocr_onnxruntime/models", "silero_vad/data"
#: Name -> the file, what makes its inputs, and the axis of its labels.
FILES: dict[str, tuple[str, Callable[[], Inputs], int | None]] = {
    "magika": ("magika/models/standard_v3_3/model.onnx", beginnings, -1),
    "rapidocr detection": (f"{OCR}/ch_PP-OCRv4_det_infer.onnx", functools.partial(pages, 1, 96, 160), None),
    "rapidocr recognition": (f"{OCR}/ch_PP-OCRv4_rec_infer.onnx", functools.partial(pages, 2, 48, 192), -1),
    "rapidocr direction": (f"{OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx", functools.partial(pages, 3, 48, 192), -1),
    "silero": (f"{VAD}/silero_vad.onnx", functools.partial(sound, 2, 576), None),
    "silero, opset 15": (f"{VAD}/silero_vad_16k_op15.onnx", functools.partial(sound, 2, 576), None),
    "silero, no If": (f"{VAD}/silero_vad_op18_ifless.onnx", functools.partial(sound, 2, 576), None),
    "silero, half": (f"{VAD}/silero_vad_half.onnx", functools.partial(sound, 2, 576, rate=False), None),
    "silero, OpenVINO": (f"{VAD}/silero_vad_openvino_16k.onnx", functools.partial(sound, 1, 576, rate=False), None),
    "silero, sequence": (f"{VAD}/silero_vad_16k_sequence.onnx", remembered, None),
}


def sample(path: Path, inputs: Callable[[], Inputs], axis: int | None) -> Sample:
    return Sample(path.read_bytes(), inputs(), axis)


def makers(folder: Path) -> dict[str, Maker]:
    """Return what reads each file, below a folder that the packages were installed in."""
    return {name: functools.partial(sample, folder / path, *rest) for name, (path, *rest) in FILES.items()}
