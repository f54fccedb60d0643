"""`unspoken launch slurm`: what it prints, and what it refuses before a job fails."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import CONFIGS
from helpers.recipes import tiny_recipe
from helpers.slurm import written_recipe
from unspoken.check.offline import require_models_here
from unspoken.cli.main import main
from unspoken.common.errors import RecipeError


def test_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, teacher={"engine": "worked"})
    flags = ["--time", "10", "--array", "2", "--extra", "--constraint=big_gpu", "--dry_run"]
    main(["launch", "slurm", str(recipe), "seed=3", *flags])
    told = capsys.readouterr().out
    assert "sbatch --dependency=afterok:JOB_OF_prepare --kill-on-invalid-dep=yes" in told
    assert "#SBATCH --constraint=big_gpu" in told
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_would_fail_is_not_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, data={"num_train": 10**6})
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(recipe), "--time", "10", "--dry_run"])
    assert caught.value.code == 2
    assert "error: data.digits: found sizes of which 8,100 problems" in capsys.readouterr().err


def launch_dry(recipe: Path, *flags: str, time: str = "10") -> None:
    main(["launch", "slurm", str(recipe), "--time", time, "--dry_run", *flags])


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"name": "models/student"}}, "model.name: models/student: no such folder here"),
        ({"model": {"name": "nobody/nothing"}}, "model.name: nobody/nothing: no such folder here"),
        ({"teacher": {"model": {"name": "models/teacher"}}}, "teacher.model.name: models/teacher"),
        (
            {"teacher": {"engine": "worked", "few_shot": "nowhere.jsonl"}},
            "teacher.few_shot: nowhere.jsonl: no such file",
        ),
    ],
)
def test_models_that_the_jobs_would_not_find_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Any], told: str
) -> None:
    if "model" in sections:
        sections["model"] |= {"config": None, "tokenizer": None}
    recipe = written_recipe(tmp_path, **sections)
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(recipe), "--time", "10"])
    assert caught.value.code == 2
    assert f"error: {told}" in capsys.readouterr().err
    launch_dry(recipe)  # where nothing is submitted, the scripts are shown all the same
    shown = capsys.readouterr()
    assert f"note: {told}" in shown.err and "nothing is submitted" in shown.err
    assert "#SBATCH" in shown.out


def test_a_hub_model_counts_as_here_once_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def snapshot(name: str, **_: Any) -> str:
        if name != "me/known":
            raise OSError
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    known = tiny_recipe(tmp_path, model={"name": "me/known", "config": None, "tokenizer": None})
    (tmp_path / "config.json").touch()
    with pytest.raises(RecipeError, match="me/known"):
        require_models_here(known)
    (tmp_path / "model.safetensors").touch()
    require_models_here(known)
    tokenizer = {"tokenizer": "me/unknown"}
    with pytest.raises(RecipeError, match=r"model\.tokenizer: me/unknown"):
        require_models_here(tiny_recipe(tmp_path, model=tokenizer))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    values = {"peft_type": "LORA", "base_model_name_or_path": "me/unknown"}
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    named = {"name": str(adapter), "config": None, "tokenizer": None}
    with pytest.raises(RecipeError, match="is an adapter of: me/unknown"):
        require_models_here(tiny_recipe(tmp_path, model=named))


def test_what_the_jobs_may_lack_is_noted_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, teacher={"engine": "worked"})
    for flags in ([], ["--gpus_per_node=2", "--cpus_per_task=8"],
                  ["--gpus_per_node=2", "--extra=--cpus-per-gpu=8"]):  # fmt: skip
        launch_dry(recipe, *flags)
        assert "note:" not in capsys.readouterr().err
    launch_dry(recipe, "--gpus_per_node=2")
    assert "note: --cpus_per_task is missing" in capsys.readouterr().err
    launch_dry(recipe, f"--config_file={CONFIGS / 'fsdp2.yaml'}", time="08:30")
    told = capsys.readouterr().err
    assert (
        "note: --time 08:30 is 8 minutes and 30 seconds to SLURM; hours would be 08:30:00" in told
    )
    assert "fsdp2.yaml does nothing for one process" in told
    launch_dry(written_recipe(tmp_path, data={"task": "gsm8k"}))
    told = capsys.readouterr().err
    assert "note: data: GSM8K from the hub" in told
    assert told.endswith("; jobs have no network\n")


@pytest.mark.integration  # bash reads the lines
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("export HF_TOKEN=hf_planted", "HF_TOKEN"),
        ("module load cuda; OPENAI_API_KEY='sk planted'", "OPENAI_API_KEY"),
        ('export HF_TOKEN=$(cat ~/token) WANDB_API_KEY="$KEY"', None),
        ("export TOKENIZERS_PARALLELISM=false", None),
    ],
)
def test_a_secret_that_would_stand_in_a_script_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, name: str | None
) -> None:
    launch_dry(written_recipe(tmp_path), "--setup", line)
    told = capsys.readouterr().err
    assert told.startswith(f"note: --setup: {name} would stand in") if name else not told
    assert "planted" not in told


def test_zero_needs_deepspeed_in_the_python_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path)
    config = f"--config_file={CONFIGS / 'zero2.yaml'}"
    flags = [config, "--gpus_per_node=2", "--cpus_per_task=8"]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "deepspeed" else find(name)
    )
    with pytest.raises(SystemExit):
        launch_dry(recipe, *flags)
    assert "asks for DeepSpeed, which is not installed" in capsys.readouterr().err
    (tmp_path / "image.sif").touch()
    launch_dry(recipe, *flags, f"--container={tmp_path / 'image.sif'}")


def test_a_batch_that_the_processes_cannot_share_is_not_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path)
    flags = ["--time", "10", "--nodes", "2", "--gpus_per_node", "3", "--dry_run"]
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(recipe), *flags])
    assert caught.value.code == 2
    assert (
        "error: train.batch_size: found 16; it must be a multiple of the 6 processes "
        "(--nodes 2 --gpus_per_node 3); set it to 12"
    ) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--nodes", "0"), "--nodes: found 0; needed: at least 1, at most 1000000; correct it"),
        (("--nodes", "x"), "--nodes: found 'x'; needed: a whole number"),
        ((), "--time: found nothing; needed: the time limit of a job, such as --time 08:00:00"),
    ],
)
def test_an_option_that_cannot_be_is_told_as_its_flag(
    tmp_path: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(written_recipe(tmp_path)), *flags])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")
