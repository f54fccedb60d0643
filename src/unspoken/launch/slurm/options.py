"""The settings of `unspoken launch slurm`, and which values SLURM would refuse."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import AfterValidator, Field, model_validator

from unspoken.common.errors import SettingError, setting, shorten
from unspoken.common.settings import Natural, Positive, checked
from unspoken.launch.patterns import matching

_UNIT_S = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
_TIME_FORMS = {
    r"(\d+)": ("minutes",),
    r"(\d+):(\d+)": ("minutes", "seconds"),
    r"(\d+):(\d+):(\d+)": ("hours", "minutes", "seconds"),
    r"(\d+)-(\d+)": ("days", "hours"),
    r"(\d+)-(\d+):(\d+)": ("days", "hours", "minutes"),
    r"(\d+)-(\d+):(\d+):(\d+)": ("days", "hours", "minutes", "seconds"),
}
_MEMORY = r"(\d+)([KMGTkmgt]?)[Bb]?"
#: Options of sbatch by which the scripts are written, and what says the same here.
_OF_OWN_FLAGS = {
    "-a": "array", "--array": "array",
    "-N": "nodes", "--nodes": "nodes",
    "-t": "time", "--time": "time",
    "--signal": "save_s",
}  # fmt: skip
#: Options of sbatch by which it alone would go to another cluster.
_OF_CLUSTERS = ("-M", "--clusters", "--cluster")
_ARRAY = r"(0*[1-9]\d*)(?:%(0*[1-9]\d*))?"


def time_s(text: str) -> int:
    """Seconds of a time limit in one of sbatch's six forms.

    Examples:
        >>> time_s("90"), time_s("08:00:00"), time_s("1-12")
        (5400, 28800, 129600)

    Raises:
        ValueError: it has none of them, or is nothing; the text says what is needed.
    """
    for pattern, units in _TIME_FORMS.items():
        match = re.fullmatch(pattern, text.strip())
        if match is not None:
            parts = zip(units, match.groups(), strict=True)
            seconds = sum(_UNIT_S[unit] * int(number) for unit, number in parts)
            if seconds > 0:
                return seconds
    raise ValueError("minutes (480), hours:minutes:seconds (08:00:00) or days-hours (1-12)")


def _require_time(text: str) -> str:
    time_s(text)
    return text


def _require_image(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(
            "the file of an apptainer image (.sif) with unspoken in it, see docs/slurm.md"
        )
    return path


def _require_environment(path: Path) -> Path:
    if not (path / "bin" / "activate").is_file():
        raise ValueError(
            "a virtual environment, with bin/activate and unspoken in it, which compute nodes see"
        )
    return path


def option_names(directive: str) -> list[str]:
    """The options of sbatch that a line of a script has, without their values.

    Examples:
        >>> option_names("--time=5 -pgpu --exclusive")
        ['--time', '-p', '--exclusive']
    """
    words = [word for word in shlex.split(directive) if word.startswith("-")]
    return [word.partition("=")[0] if word.startswith("--") else word[:2] for word in words]


def _require_words(option: str) -> str:
    """As sbatch reads a line of a script: at blanks that no quotation marks enclose, it ends."""
    needed = (
        "an option as a script has it, such as '--constraint=a100' or '--comment=\"two words\"'"
    )
    try:
        first, *rest = shlex.split(option)
    except ValueError:
        raise ValueError(needed) from None
    if "=" in first and rest and not rest[0].startswith(("-", "#")):
        raise ValueError(needed)
    return option


_Time = Annotated[str, AfterValidator(_require_time)]
_Word = Annotated[
    str,
    matching(r"[^\s'\"\\]+", "one word without quotation marks, as the cluster spells it"),
]
_Array = Annotated[
    str,
    matching(
        _ARRAY, "how many jobs share the questions, such as 16, or 16%4 for at most 4 at a time"
    ),
]
_Memory = Annotated[str, matching(_MEMORY, "a whole number with K, M, G or T, such as 200G")]
_Line = Annotated[str, matching(r"[^\n]*", "one line, such as 'module load cuda'")]
_Option = Annotated[
    str,
    matching(r"-[^\n]*", "one line, such as '--constraint=a100'"),
    AfterValidator(_require_words),
]
_Options = Annotated[tuple[_Option, ...], Parameter(allow_leading_hyphen=True)]
_OneOrMore = Annotated[Positive, Field(le=1_000_000)]
_NoneOrMore = Annotated[Natural, Field(le=1_000_000)]


@checked
class SlurmOptions:
    """What the jobs of a run ask for; `unspoken launch slurm` has each as a flag of the same name.

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
        gpus_per_shard: of each of these jobs (default 1 for a teacher that runs in them, where
            there are GPUs, else 0); more for a teacher that one GPU cannot hold.
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

    Raises:
        SettingError: for the first value that cannot be used.
    """

    nodes: _OneOrMore = 1
    gpus_per_node: _NoneOrMore = 0
    gpu_type: _Word | None = None
    time: _Time | None = None
    partition: _Word | None = None
    account: _Word | None = None
    qos: _Word | None = None
    array: _Array | None = None
    gpus_per_shard: _NoneOrMore | None = None
    cpus_per_shard: _OneOrMore | None = None
    mem_per_shard: _Memory | None = None
    config_file: Path | None = None
    cpus_per_task: _OneOrMore | None = None
    mem: _Memory | None = None
    container: Annotated[Path, AfterValidator(_require_image)] | None = None
    venv: Annotated[Path, AfterValidator(_require_environment)] | None = None
    setup: tuple[_Line, ...] = ()
    mail_user: _Word | None = None
    extra: _Options = ()
    save_s: Annotated[Positive, Field(ge=30)] = 300
    max_requeues: _NoneOrMore = 100

    @model_validator(mode="after")
    def _fit_together(self) -> SlurmOptions:
        """Refuses what does nothing, or cannot be had, with the others."""
        if self.time is not None and self.save_s >= time_s(self.time):
            raise SettingError(
                "save_s",
                found=f"{self.save_s} with {setting('time', self.time)}",
                needed=f"less than the {time_s(self.time)} seconds of {setting('time')}",
                remedy="correct one of them",
            )
        if self.gpu_type is not None and self.gpus_per_node == 0:
            gpus = setting("gpus_per_node")
            raise SettingError(
                "gpu_type",
                found=f"{self.gpu_type} without GPUs, where it does nothing",
                needed=gpus,
                remedy=f"give {gpus}, or leave this out",
            )
        for name in ("gpus_per_shard", "cpus_per_shard", "mem_per_shard"):
            if self.array is None and getattr(self, name) is not None:
                array = setting("array")
                raise SettingError(
                    name,
                    found=f"{getattr(self, name)} without {array}, where it does nothing",
                    needed=array,
                    remedy=f"give {setting('array', 16)}, say, or leave this out",
                )
        if self.gpus_per_shard is not None and self.gpus_per_shard > self.gpus_per_node:
            raise SettingError(
                "gpus_per_shard",
                found=f"{self.gpus_per_shard} with {setting('gpus_per_node', self.gpus_per_node)}",
                needed="at most those of a node",
                remedy="correct one of them",
            )
        if self.container is not None and self.venv is not None:
            raise SettingError(
                "venv",
                found=f"it with {setting('container')}",
                needed="where unspoken is installed, the image or the environment",
                remedy="leave one out",
            )
        return self

    @model_validator(mode="after")
    def _leave_to_flags(self) -> SlurmOptions:
        """Refuses options of sbatch that would take the jobs away from how the scripts use them."""
        for option in self.extra:
            for name in option_names(option):
                if name in _OF_CLUSTERS:
                    raise SettingError(
                        "extra",
                        found=f"{shorten(option)}, of which squeue, scontrol and scancel would not "
                        "know",
                        needed="SLURM_CLUSTERS in the environment, which all of them obey",
                        remedy="export it, and leave this out",
                    )
                own = _OF_OWN_FLAGS.get(name)
                if own is not None:
                    raise SettingError(
                        "extra",
                        found=f"{shorten(option)}, by which the jobs' scripts are written",
                        needed=setting(own),
                        remedy="give that instead",
                    )
        return self

    def require_time(self) -> None:
        """Raises SettingError where the time limit is missing, which every job needs."""
        if self.time is None:
            raise SettingError(
                "time",
                found="nothing",
                needed=f"the time limit of a job, such as {setting('time', '08:00:00')}",
                remedy="give it; what takes longer goes on in the same job",
            )

    @property
    def shards(self) -> tuple[int, int | None] | None:
        """Jobs of the array, and how many at a time at the most; None without an array.

        Examples:
            >>> SlurmOptions(array="16%4").shards
            (16, 4)
        """
        match = re.fullmatch(_ARRAY, self.array or "")
        if match is None:
            return None
        return int(match[1]), None if match[2] is None else int(match[2])

    def of_shard(self, gpus: int) -> tuple[int | None, str | None]:
        """CPU cores and memory of a job with so many of a node's GPUs; without any, as with one.

        Examples:
            >>> SlurmOptions(gpus_per_node=4, cpus_per_task=32, mem="201G").of_shard(1)
            (8, '51G')
        """
        part = min(1.0, max(1, gpus) / max(1, self.gpus_per_node))
        cpus, mem = self.cpus_per_shard, self.mem_per_shard
        if cpus is None and self.cpus_per_task is not None:
            cpus = math.ceil(self.cpus_per_task * part)
        match = re.fullmatch(_MEMORY, self.mem or "")
        if mem is None and match is not None:
            number, unit = int(match[1]), match[2]  # without a unit it is megabytes
            if not number and part < 1:
                raise SettingError(
                    "mem",
                    found=f"{self.mem}, all of a node, for jobs that have a part of it",
                    needed="how much that is",
                    remedy=f"give {setting('mem_per_shard', '50G')}, say",
                )
            mem = f"{math.ceil(number * part)}{unit}"
        return cpus, mem
