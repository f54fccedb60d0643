"""What SLURM is asked for, and what of it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.slurm import scripts
from unspoken.common.errors import RecipeError
from unspoken.launch.slurm.options import time_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5_400), ("90:30", 5_430), ("08:00:00", 28_800), ("1-12", 129_600),
     ("1-12:30", 131_400), ("1-00:00:05", 86_405)],
)  # fmt: skip
def test_a_time_limit_is_read_as_slurm_reads_it(text: str, seconds: int) -> None:
    assert time_s(text) == seconds


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time": "8h"}, "time: found '8h'"),
        ({"time": "0"}, "time: found '0'"),
        (
            {"time": None},
            "time: found nothing; needed: the time limit of a job, such as time=08",
        ),
        ({"time": "4"}, "save_s: found 300 with time=4"),
        ({"nodes": 0}, "nodes: found 0; needed: at least 1"),
        ({"array": "0"}, "array: found '0'"),
        ({"array": "1-16"}, "array: found '1-16'"),
        ({"array": "4"}, "array: found 4 with a recipe that has no section teacher"),
        ({"container": Path("nowhere.sif")}, "container: found nowhere.sif; needed: the file"),
        ({"venv": Path("nowhere")}, "venv: found nowhere; needed: a virtual environment"),
        ({"extra": ("constraint=a100",)}, "extra: found 'constraint=a100'"),
        ({"extra": ("--comment=two words",)}, "extra: found '--comment=two words'; needed: an"),
        ({"extra": ("--comment='two words",)}, 'extra: found "--comment=\'two words"; needed: an'),
        ({"extra": ("--hold", "-t 5")}, "extra: found '-t 5', by which"),
        ({"extra": ("--hold -M other",)}, "of which squeue, scontrol and scancel would not know"),
        ({"extra": ("--clusters=other",)}, "; needed: SLURM_CLUSTERS in the environment"),
        ({"extra": ("-N2",)}, "by which the jobs' scripts are written; needed: nodes; give that"),
        ({"extra": ("--hold --array=1-4",)}, "are written; needed: array; give that"),
        ({"extra": ("--signal=B:USR1@60",)}, "are written; needed: save_s; give that"),
        ({"partition": "a b"}, "partition: found 'a b'"),
        ({"account": "it's"}, "account: found"),
        ({"gpu_type": 'a"100'}, "gpu_type: found"),
        ({"mem": "200 G"}, "mem: found '200 G'"),
        ({"mem_per_shard": "much"}, "mem_per_shard: found 'much'"),
        ({"cpus_per_shard": 0}, "cpus_per_shard: found 0"),
        (
            {"teacher": True, "array": "4", "gpus_per_node": 4, "mem": "0"},
            "give mem_per_shard=50G",
        ),
        ({"output": Path('/runs/the "last" one')}, "found '\"' in the name"),
        ({"gpu_type": "a100"}, "gpu_type: found a100 without GPUs"),
        ({"gpus_per_shard": 1, "gpus_per_node": 4}, "gpus_per_shard: found 1 without array"),
        ({"cpus_per_shard": 1}, "cpus_per_shard: found 1 without array"),
        ({"mem_per_shard": "7G"}, "mem_per_shard: found 7G without array"),
        (
            {"array": "4", "gpus_per_shard": 5, "gpus_per_node": 4},
            "gpus_per_shard: found 5 with gpus_per_node=4",
        ),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        scripts(tmp_path, **options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        "--comment='two words'",
        '--comment="two words"',
        "--constraint a100",
        "-x node1",
        "-c8 --exclusive",
        "--exclusive # alone",
        "--nodelist=gpu[1-4]",
        "--tmp=10G",
        "--dependency=afterok:12",
    ],
)
def test_what_sbatch_reads_and_no_flag_has_is_handed_on(tmp_path: Path, option: str) -> None:
    (text,) = scripts(tmp_path, extra=(option,)).values()
    assert f"#SBATCH {option}" in text.splitlines()
