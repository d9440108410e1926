#!/usr/bin/env bash
# The digits and the tests of bits on an emulated ARM64 processor: `nox -s arm64`. Needs Debian's apt-get and 500 MB.
# Nothing is installed: an emulator, an arm64 Python and NumPy's arm64 wheel are unpacked into a folder.
set -euo pipefail

python=$1 # with pip, to download wheels with
folder=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$folder" && cd "$folder"

mkdir -p lists/partial cache/archives/partial root tool np pure packages
touch status
options=(
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache"
    -o "Dir::State::status=$PWD/status" -o APT::Sandbox::User=root
)
if [[ ! -x tool/usr/bin/qemu-aarch64-static ]]; then
    apt-get update -qq
    (cd tool && apt-get download -qq qemu-user-static && dpkg -x qemu-user-static_*.deb .)
fi
if [[ ! -x root/usr/bin/python3.11 ]]; then
    apt-get "${options[@]}" update -qq
    (cd packages && apt-get "${options[@]}" download -qq python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 \
        libexpat1 zlib1g libffi8 libgcc-s1 libstdc++6 libcrypt1 libssl3 libbz2-1.0 liblzma5 libuuid1 media-types)
    for package in packages/*.deb; do dpkg -x "$package" root; done
fi
platforms=(--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64
    --platform manylinux2014_aarch64)
# What is pure Python, as pip chooses it for this machine; then what is compiled, at the same versions, for the other.
"$python" -m pip install -q --upgrade --target pure array-api-compat array-api-extra filelock platformdirs pytest \
    requests rich threadpoolctl tqdm typer urllib3
compiled=(numpy==2.4.6 safetensors)
for found in pure/pydantic_core-*.dist-info; do # of newer releases of typer
    [[ -d $found ]] && compiled+=("pydantic-core==$(basename "$found" .dist-info | cut -d- -f2)")
done
rm -rf pure/numpy* pure/pydantic_core* pure/hypothesis* pure/_hypothesis*
find pure -name '*.so' -delete
"$python" -m pip install -q --upgrade --target np --no-deps --only-binary=:all: "${platforms[@]}" --python-version 3.11 \
    --implementation cp "${compiled[@]}"

export PYTHONHOME=$PWD/root/usr PYTHONPATH=$PWD/np:$PWD/pure:$here PYTHONDONTWRITEBYTECODE=1 QEMU_CPU=neoverse-n1
arm=(tool/usr/bin/qemu-aarch64-static -L root root/usr/bin/python3.11)
"${arm[@]}" -c 'import platform; from anyback.backends._machine import environment; print(platform.machine(), environment()["blas"])'
"${arm[@]}" -m anyback evaluate
"${arm[@]}" -m anyback parity --backends numpy
"${arm[@]}" -m pytest -p no:cacheprovider -c "$here/pyproject.toml" --rootdir "$here" "$here/tests/test_bits.py" -m numpy
