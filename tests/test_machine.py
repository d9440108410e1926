"""What a result was made on, and whether the BLAS makes use of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from anyback.backends._machine import better_kernels, cpu_flags, kernels_advice, openblas_kernels

AVX2 = {"sse2", "avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("running", "flags", "better"),
    [
        ("Haswell", AVX512, "SKYLAKEX"),
        ("Zen", AVX512 | {"avx512_bf16"}, "SKYLAKEX"),
        ("Prescott", AVX512, "SKYLAKEX"),
        ("SkylakeX", AVX512, None),
        ("Cooperlake", AVX512, None),
        ("Sapphirerapids", AVX512 | {"amx_tile"}, None),
        ("Haswell", AVX2, None),
        ("Zen", AVX2, None),
        ("Zen", AVX2 | {"avx512f"}, None),  # as on Knights Landing: not what the kernels need
        ("Prescott", AVX2, "HASWELL"),
        ("Sandybridge", AVX2, "HASWELL"),
        ("Sandybridge", {"sse2", "avx"}, None),
        ("neoversen1", {"asimd"}, None),
        ("", AVX512, None),  # another library multiplies
        ("Haswell", set(), None),  # the system does not say
    ],
)
def test_better_kernels_are_those_that_the_processor_offers(running: str, flags: set[str], better: str | None) -> None:
    assert better_kernels(running, flags) == better


def in_child(coretype: str) -> dict[str, str]:
    code = (
        "import json, numpy; from anyback.backends import _machine as m; "
        "print(json.dumps({'running': m.openblas_kernels(), 'advice': m.kernels_advice()}))"
    )
    environment = {**os.environ, "OPENBLAS_CORETYPE": coretype}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def test_the_advice_is_given_where_it_applies_and_is_right() -> None:
    if not openblas_kernels() or not cpu_flags() >= AVX512:
        pytest.skip("needs OpenBLAS and a processor with AVX-512")
    slow, fast = in_child("HASWELL"), in_child("SKYLAKEX")
    assert slow["running"] == "Haswell"
    assert "OpenBLAS runs its Haswell kernels" in slow["advice"]
    assert "OPENBLAS_CORETYPE=SKYLAKEX" in slow["advice"]
    assert (fast["running"], fast["advice"]) == ("SkylakeX", "")


@pytest.mark.parametrize("coretype", ["HASWELL", "SKYLAKEX"])
def test_doctor_says_it(coretype: str) -> None:
    advice = in_child(coretype)["advice"]
    command = [sys.executable, "-m", "anyback", "doctor", "--json"]
    environment = {**os.environ, "OPENBLAS_CORETYPE": coretype}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout).get("advice", "") == advice


def test_the_advice_is_a_line_or_nothing() -> None:
    assert len(kernels_advice().splitlines()) <= 1
