"""What SageMaker tells a container: hosts, this host, the recipe, overrides, channels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import UnspokenError
from unspoken.common.files import write_text

#: In the code archive where a job is to use FSDP2 or DeepSpeed: a configuration of accelerate's.
ACCELERATE_FILE = "accelerate.yaml"
_PORT = 29_400
#: SageMaker shows no more of the reason for a failure.
_MAX_REASON = 1_000


class ContainerError(UnspokenError):
    """A job that cannot run as it was submitted, or in this image."""


@dataclass(frozen=True)
class ContainerJob:
    """A training job, as seen by one of its hosts.

    Attributes:
        root: /opt/ml, or where a test put one.
        recipe: its file.
        overrides: section.key=value, paths mapped to this container.
        hosts: names of all hosts, in the order that all of them agree on.
        host: name of this one.
        num_processes: on this host: one for each GPU, or one.
        network_interface: over which hosts talk, if it was told.
        master: address of the first host.
        port: of the rendezvous there.
    """

    root: Path
    recipe: Path
    overrides: tuple[str, ...]
    hosts: tuple[str, ...]
    host: str
    num_processes: int
    network_interface: str | None
    master: str
    port: int

    @property
    def code(self) -> Path:
        """Where the code archive was unpacked."""
        return self.root / "code"

    @property
    def rank(self) -> int:
        """Number of this host."""
        return self.hosts.index(self.host)

    @property
    def is_first(self) -> bool:
        """Whether this host has the run folder."""
        return self.rank == 0


def read_job(root: Path, environment: Mapping[str, str] | None = None) -> ContainerJob:
    """The job in `root`/input/config, with SM_* of the environment where they are set.

    MASTER_ADDR and MASTER_PORT win over the first host's name and the usual port.

    Raises:
        ContainerError: something is missing or does not fit; the message names it.
    """
    environment = os.environ if environment is None else environment
    config = root / "input" / "config"
    parameters = _from_environment(environment, "SM_HPS")
    if parameters is None:
        parameters = _read(config / "hyperparameters.json")
    resources = _read(config / "resourceconfig.json", {"hosts": ["algo-1"]})
    hosts = sorted(_from_environment(environment, "SM_HOSTS") or resources["hosts"], key=_number)
    host = environment.get("SM_CURRENT_HOST") or resources.get("current_host", hosts[0])
    if host not in hosts:
        raise ContainerError(f"resourceconfig.json: host {host} is not among {', '.join(hosts)}")
    overrides = [parameters[name] for name in sorted(parameters) if name.startswith("override-")]
    _require_channels(overrides, root, config)
    recipe = root / "code" / str(parameters.get("recipe", ""))
    if "recipe" not in parameters or not recipe.is_file():
        raise ContainerError(
            f"hyperparameter recipe: found {parameters.get('recipe')!r}, which is no file in the "
            "code archive; needed: such as recipes/quickstart.yaml; submit with unspoken launch "
            "sagemaker"
        )
    # jobs are submitted with the real places; only tests have another root
    mapped = [text.replace("/opt/ml/", f"{root}/") for text in overrides]
    gpus = environment.get("SM_NUM_GPUS")
    return ContainerJob(
        root=root,
        recipe=recipe,
        overrides=tuple(mapped),
        hosts=tuple(hosts),
        host=host,
        num_processes=max(1, int(gpus) if gpus is not None else _count_gpus()),
        network_interface=environment.get("SM_NETWORK_INTERFACE_NAME")
        or resources.get("network_interface_name"),
        master=environment.get("MASTER_ADDR") or hosts[0],
        port=int(environment.get("MASTER_PORT") or _PORT),
    )


def _require_channels(overrides: list[str], root: Path, config: Path) -> None:
    """Every channel that an override names must have been given and be there."""
    named = set(re.findall(r"/opt/ml/input/data/([\w.-]+)", " ".join(overrides)))
    given = _read(config / "inputdataconfig.json", None)
    known = named if given is None else set(given)
    for name in sorted(named):
        if name not in known or not (root / "input" / "data" / name).is_dir():
            raise ContainerError(
                f"channel {name}: an override needs it, but the job has none by this name; submit "
                "with unspoken launch sagemaker"
            )


def _read(path: Path, missing: Any = ...) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing is not ...:
            return missing
        raise ContainerError(f"{path}: missing; needed: what SageMaker writes there") from None
    except ValueError as error:
        raise ContainerError(f"{path}: not JSON ({error})") from None


def _from_environment(environment: Mapping[str, str], name: str) -> Any:
    text = environment.get(name)
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise ContainerError(f"{name}: found {text[:60]!r}; needed: JSON") from None


def _number(host: str) -> tuple[int, str]:
    """algo-10 comes after algo-9."""
    digits = host.rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, host)


def _count_gpus() -> int:
    """How many GPUs the driver lists; importing torch for it would take seconds."""
    if shutil.which("nvidia-smi") is None:
        return 0
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def write_failure(root: Path, reason: str) -> None:
    """Writes output/failure: what SageMaker shows as the job's failure reason, in one line."""
    line = " ".join(reason.split())[:_MAX_REASON]
    write_text(root / "output" / "failure", f"{line}\n")
