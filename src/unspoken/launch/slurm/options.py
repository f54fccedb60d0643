"""What is asked of SLURM for a run, and what of it cannot be."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.common.errors import RecipeError

_UNIT_S = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What the jobs of a run ask for; each is a flag of `unspoken launch slurm` by the same name.

    Attributes:
        nodes: that train together.
        gpus_per_node: as many processes on each; 0 trains on CPUs, one process per node.
        gpu_type: of all GPUs, as the cluster calls it, such as a100.
        time: limit of one job (required, except with --status), as sbatch takes it, such as
            08:00:00; a run that needs longer goes on in the same job.
        partition: of the cluster (default: the cluster's own).
        account: that is charged.
        qos: quality of service.
        array: N has N jobs write the teacher's traces, each its share; N%M at most M at a time.
        gpus_per_shard: of each of these jobs (default 1 for a local teacher, where there are GPUs,
            else 0); more for a teacher that one GPU cannot hold.
        cpus_per_shard: CPU cores of each of these jobs, and of the small one before them (default:
            their part of cpus_per_task, as their GPUs are of gpus_per_node).
        mem_per_shard: memory of each of these jobs (default: the same part of mem).
        config_file: of accelerate's, such as configs/fsdp2.yaml: how the processes share the model
            out (default: DDP); its numbers of machines and processes do not count.
        cpus_per_task: CPU cores on each node.
        mem: memory of each node, such as 200G.
        container: an apptainer image with unspoken in it.
        venv: virtual environment with unspoken in it (default: the Python that runs this command).
        setup: shell line that each job runs first, such as 'module load cuda'; can be repeated.
        mail_user: gets SLURM's mail when a job ends, fails or is requeued.
        extra: further option of sbatch, such as '--constraint=a100'; can be repeated.
        save_s: seconds before the time limit at which a run is asked to save and stop.
        max_requeues: a job that has gone on so often is not requeued once more.
    """

    nodes: int = 1
    gpus_per_node: int = 0
    gpu_type: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    array: str | None = None
    gpus_per_shard: int | None = None
    cpus_per_shard: int | None = None
    mem_per_shard: str | None = None
    config_file: Path | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    container: Path | None = None
    venv: Path | None = None
    setup: tuple[str, ...] = ()
    mail_user: str | None = None
    extra: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)] = ()
    save_s: int = 300
    max_requeues: int = 100

    @property
    def shards(self) -> tuple[int, int | None] | None:
        """Jobs of the array, and how many at a time at the most; None without --array.

        Example:
            >>> SlurmOptions(array="16%4").shards
            (16, 4)
        """
        if self.array is None:
            return None
        match = re.fullmatch(r"(\d+)(?:%(\d+))?", self.array)
        if match is None or int(match[1]) < 1 or match[2] == "0":
            raise RecipeError(
                f"--array: found {self.array!r}; needed: how many jobs share the questions, such "
                "as 16, or 16%4 for at most 4 at a time; correct it"
            )
        return int(match[1]), None if match[2] is None else int(match[2])

    def of_shard(self, gpus: int) -> tuple[int | None, str | None]:
        """CPU cores and memory of a job with so many of a node's GPUs; without any, as with one.

        Example:
            >>> SlurmOptions(gpus_per_node=4, cpus_per_task=32, mem="201G").of_shard(1)
            (8, '51G')
        """
        part = min(1.0, max(1, gpus) / max(1, self.gpus_per_node))
        cpus, mem = self.cpus_per_shard, self.mem_per_shard
        if cpus is None and self.cpus_per_task is not None:
            cpus = math.ceil(self.cpus_per_task * part)
        if mem is None and self.mem is not None:
            number, unit = _memory("mem", self.mem)
            if not number and part < 1:
                raise RecipeError(
                    f"--mem: found {self.mem}, all of a node, for jobs that have a part of it; "
                    "needed: how much that is; give --mem_per_shard, such as 50G"
                )
            mem = f"{math.ceil(number * part)}{unit}"
        return cpus, mem

    def check(self) -> None:
        """Says what can be known to be wrong before anything is submitted.

        Raises:
            RecipeError: a flag cannot be used; the message names it.
        """
        counts = {
            "nodes": (self.nodes, 1),
            "gpus_per_node": (self.gpus_per_node, 0),
            "gpus_per_shard": (self.gpus_per_shard, 0),
            "cpus_per_shard": (self.cpus_per_shard, 1),
            "cpus_per_task": (self.cpus_per_task, 1),
            "max_requeues": (self.max_requeues, 0),
        }
        for name, (count, least) in counts.items():
            if count is not None and count < least:
                raise RecipeError(f"--{name}: found {count}; needed: at least {least}; correct it")
        if self.time is None:
            raise RecipeError(
                "--time: missing; needed: the time limit of a job, such as --time 08:00:00; what "
                "takes longer goes on in the same job"
            )
        limit_s = time_s(self.time)
        if not 30 <= self.save_s < limit_s:
            raise RecipeError(
                f"--save_s: found {self.save_s} with --time {self.time}; needed: 30 up, and less "
                f"than the {limit_s} seconds of --time; correct one of them"
            )
        self._check_words()
        self._check_together()
        self._check_paths()

    def _check_together(self) -> None:
        """Flags that do nothing, or cannot be had, with the others."""
        if self.gpu_type is not None and self.gpus_per_node == 0:
            raise RecipeError(
                f"--gpu_type: found {self.gpu_type} without GPUs, where it does nothing; give "
                "--gpus_per_node, or leave it out"
            )
        if self.shards is None:
            for name in ("gpus_per_shard", "cpus_per_shard", "mem_per_shard"):
                if getattr(self, name) is not None:
                    raise RecipeError(
                        f"--{name}: found it without --array, where it does nothing; give --array, "
                        "such as 16, or leave it out"
                    )
        if self.gpus_per_shard is not None and self.gpus_per_shard > self.gpus_per_node:
            raise RecipeError(
                f"--gpus_per_shard: found {self.gpus_per_shard} with --gpus_per_node "
                f"{self.gpus_per_node}; needed: at most those of a node; correct one of them"
            )

    def _check_words(self) -> None:
        """What stands in the script's head as it was typed."""
        for name in ("partition", "account", "qos", "mail_user", "gpu_type"):
            word = getattr(self, name)
            if word is not None and not re.fullmatch(r"[^\s'\"\\]+", word):
                raise RecipeError(
                    f"--{name}: found {word!r}; needed: one word without quotation marks, as the "
                    "cluster spells it; correct it"
                )
        for name in ("mem", "mem_per_shard"):
            if getattr(self, name) is not None:
                _memory(name, getattr(self, name))
        for flag, value in {"setup": self.setup, "extra": self.extra}.items():
            for line in value:
                if "\n" in line or (flag == "extra" and not line.startswith("-")):
                    raise RecipeError(
                        f"--{flag}: found {line!r}; needed: one line, such as "
                        + ("'module load cuda'" if flag == "setup" else "'--constraint=a100'")
                    )

    def _check_paths(self) -> None:
        if self.container is not None and self.venv is not None:
            raise RecipeError(
                "--container and --venv: found both; needed: where unspoken is installed, the "
                "image or the environment; leave one out"
            )
        if self.container is not None and not self.container.is_file():
            raise RecipeError(
                f"--container: found no file {self.container}; needed: an apptainer image (.sif) "
                "with unspoken in it, see docs/slurm.md; correct the path"
            )
        if self.venv is not None and not (self.venv / "bin" / "activate").is_file():
            raise RecipeError(
                f"--venv: found no {self.venv}/bin/activate; needed: a virtual environment with "
                "unspoken in it, which compute nodes see; correct the path"
            )


def time_s(text: str) -> int:
    """Seconds of a time limit in one of sbatch's six forms.

    Example:
        >>> time_s("90"), time_s("08:00:00"), time_s("1-12")
        (5400, 28800, 129600)

    Raises:
        RecipeError: it has none of them, or is nothing.
    """
    forms = {
        r"(\d+)": ("minutes",),
        r"(\d+):(\d+)": ("minutes", "seconds"),
        r"(\d+):(\d+):(\d+)": ("hours", "minutes", "seconds"),
        r"(\d+)-(\d+)": ("days", "hours"),
        r"(\d+)-(\d+):(\d+)": ("days", "hours", "minutes"),
        r"(\d+)-(\d+):(\d+):(\d+)": ("days", "hours", "minutes", "seconds"),
    }
    for pattern, units in forms.items():
        match = re.fullmatch(pattern, text.strip())
        if match is not None:
            parts = zip(units, match.groups(), strict=True)
            seconds = sum(_UNIT_S[unit] * int(number) for unit, number in parts)
            if seconds > 0:
                return seconds
    raise RecipeError(
        f"--time: found {text!r}; needed: minutes (480), hours:minutes:seconds (08:00:00) or "
        "days-hours (1-12); correct it"
    )


def _memory(name: str, text: str) -> tuple[int, str]:
    """Number and unit of a size of memory, as sbatch takes it; without a unit it is megabytes."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise RecipeError(
            f"--{name}: found {text!r}; needed: a whole number with K, M, G or T, such as 200G; "
            "correct it"
        )
    return int(match[1]), match[2]
