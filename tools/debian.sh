#!/usr/bin/env bash
# The digits and the tests of bits with a NumPy of Debian's: 32 bits wide (i386), or with another BLAS (reference, blis,
# mkl): `nox -s debian -- mkl`. Needs Debian's apt-get, root for chroot, and 1 GB.
# Nothing is installed: Debian's unstable Python and NumPy are unpacked into a folder.
set -euo pipefail

python=$1 # with pip, to download what is pure Python
folder=$2
which=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case $which in
i386) architecture=i386 wide=i386-linux-gnu blas=/usr/lib/i386-linux-gnu/blas ;;
reference) architecture=amd64 wide=x86_64-linux-gnu blas=/usr/lib/x86_64-linux-gnu/blas ;;
blis) architecture=amd64 wide=x86_64-linux-gnu blas=/usr/lib/x86_64-linux-gnu/blis-openmp ;;
mkl) architecture=amd64 wide=x86_64-linux-gnu blas=/mkl ;;
*) echo "one of i386, reference, blis, mkl" >&2 && exit 2 ;;
esac
mkdir -p "$folder/$architecture" && cd "$folder/$architecture"

mkdir -p lists/partial cache/archives/partial packages root/{dev,proc,pure,src,tmp}
touch status
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1) # the one of this machine
echo "deb $mirror sid main" >sources.list
options=(
    -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State::Lists=$PWD/lists"
    -o "Dir::Cache=$PWD/cache" -o "Dir::State::status=$PWD/status" -o "Dir::Etc::sourcelist=$PWD/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root
)
if [[ ! -x root/usr/bin/python3.14 ]]; then
    apt-get "${options[@]}" update -qq
    (cd packages && apt-get "${options[@]}" download -qq base-files bash coreutils libacl1 libattr1 libblas3 libblis4-openmp \
        libbz2-1.0 libc6 libcap2 libcrypt1 libexpat1 libffi8 libgcc-s1 libgfortran5 libgmp10 libgomp1 liblapack3 \
        liblzma5 libpcre2-8-0 libpython3.14-minimal libpython3.14-stdlib libquadmath0 libselinux1 libsqlite3-0 \
        libssl3t64 libstdc++6 libtinfo6 libuuid1 libzstd1 media-types python3-numpy python3-safetensors python3.14 \
        python3.14-minimal tzdata zlib1g)
    for package in packages/*.deb; do dpkg -x "$package" root; done
    mknod -m 666 root/dev/null c 1 3
    mknod -m 666 root/dev/urandom c 1 9
fi
"$python" -m pip install -q --upgrade --target root/pure array-api-compat array-api-extra pytest threadpoolctl
rm -rf root/pure/numpy*
if [[ $which == mkl && ! -e root/mkl ]]; then
    "$python" -m venv venv
    venv/bin/pip install -q mkl
    cp -r venv/lib root/mkl # all of it, since MKL loads more by itself
    rm -rf root/mkl/python3*
    ln -s libmkl_rt.so.3 root/mkl/libblas.so.3
    ln -s libmkl_rt.so.3 root/mkl/liblapack.so.3
fi
rm -rf root/src && mkdir root/src
cp -r "$here"/{anyback,pyproject.toml,tests} root/src

mount -t proc proc root/proc # where MKL finds its other files
trap 'umount root/proc' EXIT
lib=/usr/lib/$wide
run() {
    env -i PATH=/usr/sbin:/usr/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/src:/usr/lib/python3/dist-packages:/pure \
        LD_LIBRARY_PATH="$blas:$lib/lapack:$lib/blas" chroot root /usr/bin/python3.14 "$@"
}
run - <<'PYTHON'
import sys
import anyback as ab
from anyback.backends._blas import threads_advice
from anyback.backends._machine import environment
net, test = ab.load_model("digits-mlp"), ab.datasets.digits("test")
print(f"{sys.maxsize.bit_length() + 1} bits; {environment()['blas']}; {threads_advice()}", flush=True)
print(ab.evaluate(net, test.images, test.labels), flush=True)
PYTHON
run -m pytest -p no:cacheprovider -c /src/pyproject.toml --rootdir /src /src/tests/test_bits.py -m numpy
