"""What a launcher's variables say, and what is refused before anything begins."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.paths import ROOT
from helpers.recipes import tiny_recipe
from unspoken.common.errors import RecipeError
from unspoken.parallel.world import (
    World,
    join_other_processes,
    join_processes,
    read_way,
    read_world,
)
from unspoken.run.run import run_recipe


def test_a_process_without_a_launcher_is_alone_and_talks() -> None:
    assert read_world({}) == World(rank=0, size=1, local_size=1, host=0, is_launched=False)
    assert read_world({}).is_main


def test_torchruns_variables_are_read() -> None:
    variables = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
        "TORCHELASTIC_RUN_ID": "none",
    }
    world = read_world(variables)
    assert world == World(rank=5, size=8, local_size=4, host=1, is_launched=True)
    assert not world.is_main


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"RANK": "1"}, "found RANK without WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT;"),
        ({"LOCAL_RANK": "0"}, "found LOCAL_RANK without RANK, WORLD_SIZE, MASTER_ADDR,"),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "found RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT without LOCAL_RANK;",
        ),
        ({"RANK": "first"}, "RANK: found 'first'; needed: a whole number, .*; unset it"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK: found '-1'; needed: a whole number"),
    ],
)
def test_some_of_a_launchers_variables_without_the_rest_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    """A shell within a job has some; torch ends with a traceback, or trains alone on a GPU."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for join in (join_processes, join_other_processes):
        with pytest.raises(RecipeError, match=told):
            join()


@pytest.mark.parametrize("value", ["", "first"])
def test_a_variable_without_a_number_says_nothing(value: str) -> None:
    names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    assert read_world(dict.fromkeys(names, value)) == World()


def test_a_world_of_one_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_other_processes() is None


def test_no_other_module_reads_torchruns_variables() -> None:
    """The launchers set them for others; what they say is read in one place."""
    readers = set()
    for path in (ROOT / "src").rglob("*.py"):
        names = r"(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_RANK|TORCHELASTIC_RUN_ID)"
        if re.search(rf'environ[^\n]*"{names}"|"{names}" in ', path.read_text(encoding="utf-8")):
            readers.add(path.relative_to(ROOT / "src" / "unspoken").as_posix())
    assert {name for name in readers if not name.startswith("launch/")} == {"parallel/world.py"}


@pytest.mark.integration
def test_a_world_is_read_without_torch() -> None:
    code = "import sys, unspoken.parallel.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batches_that_cannot_be_shared_out_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a teacher has written for hours."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    recipe = tiny_recipe(
        tmp_path / "run",
        teacher={"engine": "worked"},
        distil={"batch_size": 16},
        train={"batch_size": 15},
    )
    with pytest.raises(RecipeError, match=r"distil.batch_size: found 16;.*the 3 processes"):
        run_recipe(recipe)
    assert not (tmp_path / "run").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RecipeError, match=r"4 processes .* 2 GPUs;.*--num_processes 2"):
        join_processes()


def test_deepspeed_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: (name != "deepspeed" and find(name, *rest)) or None,
    )
    assert read_way() == "ddp"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(RecipeError, match=r"pip install 'unspoken\[deepspeed\]'"):
        read_way()


@pytest.mark.integration
def test_deepspeed_is_not_imported_where_nobody_asks_for_it() -> None:
    code = (
        "import sys, unspoken.cli.main, unspoken.train.loop; sys.exit('deepspeed' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
