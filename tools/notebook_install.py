"""The cell in front of each notebook that is attached to a release: below the line, as `notebook_files.py` takes it.

It does nothing where anyback is installed. ADDRESS becomes the address of the repository.
"""

# ruff: noqa: F821
# ---
import importlib.util
import re
import shutil
import subprocess
import sys

if importlib.util.find_spec("anyback") is None:
    pip = [sys.executable, "-m", "pip"]
    extras = ["plot"]
    said = ""
    if shutil.which("nvidia-smi"):
        said = subprocess.run(["nvidia-smi"], check=False, capture_output=True, text=True).stdout
    cuda = re.search(r"CUDA[\w ]*Version: *(\d+)", said)
    if cuda and int(cuda[1]) >= 12:
        # The CUDA that the driver goes with says which CuPy; the other one, if it is there, would break it.
        new = int(cuda[1]) >= 13
        extras.append("cupy13" if new else "cupy12")
        other = "cupy-cuda12x" if new else "cupy-cuda13x"
        subprocess.run([*pip, "uninstall", "-q", "-y", other], check=True)
    wanted = f"anyback[{','.join(extras)}] @ git+" + ADDRESS
    subprocess.run([*pip, "install", "-q", wanted, "scikit-learn", "skl2onnx"], check=True)
