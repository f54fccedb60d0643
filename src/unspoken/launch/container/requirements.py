"""What unspoken needs and the image does not have; torch stays the image's own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from unspoken.common.errors import setting
from unspoken.launch.container.job import ContainerError


def install_missing(code: Path, say: Callable[[str], None]) -> None:
    """Installs what requirements.txt asks for and is missing or too old; mostly nothing.

    Raises:
        ContainerError: torch does not fit, or pip could not install the rest.
    """
    path = code / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    missing = [line for line in lines if line.strip() and not _is_met(line)]
    if not missing:
        return
    torch = [line for line in missing if line.partition(">")[0].strip() == "torch"]
    if torch:
        raise ContainerError(
            f"image: found {_version('torch')}; needed: {torch[0]}; give another {setting('image')}"
        )
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(f"torch=={metadata.version('torch')}\n")
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-input",
            "--disable-pip-version-check", "-c", str(constraints), *missing,
        ]  # fmt: skip
        say(f"pip install {' '.join(missing)}")
        if subprocess.run(command, check=False).returncode:
            raise ContainerError(
                f"pip could not install {', '.join(missing)} (see the log above); needed: a way to "
                f"a package index, or an {setting('image')} that has them; see docs/sagemaker.md"
            )


def _is_met(line: str) -> bool:
    """Whether an installed package fits a requirement; of a marker that does not hold, yes."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return False
    requirement = Requirement(line)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"no {name}"
