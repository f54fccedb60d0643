"""`unspoken distil`: the training command of usual scripts, with its flags."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import Forked, alone
from helpers.recipes import tiny_qwen2
from unspoken.cli.main import call, main
from unspoken.common.errors import ModelError, RecipeError
from unspoken.models.adapter import is_adapter
from unspoken.recipe import load_recipe
from unspoken.run.resume import resume_from

pytestmark = pytest.mark.integration


def traces(folder: Path, count: int = 40) -> Path:
    """Question and cot alone, as the seed has them; two that cannot be learned from."""
    path = folder / "cot_dataset.jsonl"
    records = [
        {"question": f"What is {n} + 1?", "cot": f"Step 1: {n} + 1\nFinal Answer: {n + 1}"}
        for n in range(count)
    ]
    records += [{"question": "What is 2 * 2?", "cot": "Step 1: I do not"}, records[0]]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def distil(tmp_path: Path, **flags: Any) -> Path:
    """Calls the verb; a flag is True where it has no value."""
    out = tmp_path / "student_cot_lora"
    student = str(tiny_qwen2(tmp_path / "student"))
    given = {"student_dir": student, "data": traces(tmp_path), "out_dir": out, "epochs": 1, **flags}
    words = [
        [f"--{name}", *([] if value is True else [str(value)])] for name, value in given.items()
    ]
    call(["distil", *(word for pair in words for word in pair)])
    return out


def test_the_seeds_command_leaves_an_adapter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tiny_qwen2(tmp_path / "student")
    out = tmp_path / "results" / "student_cot_lora"
    main(
        f"distil --student_dir {student} --data {traces(tmp_path)} --out_dir {out} "
        "--per_device_train_batch_size 2 --epochs 3 --lr 2e-4 --r 4 --lora_alpha 8 "
        "--max_length 512".split()
    )
    told = capsys.readouterr().out
    assert f"student: {out}" in told
    # before anything is trained
    assert told.index("nothing to measure with: no test") < told.index("distil: running")
    assert is_adapter(str(out))
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.05)
    recipe = load_recipe(out / "recipe.yaml")
    assert recipe.model.quantization == "nf4"
    assert (recipe.train.batch_size, recipe.train.micro_batch_size) == (8, 2)
    assert recipe.train.optimizer == "paged_adamw_8bit"
    stage = json.loads((out / "distilled" / "stage.json").read_text())
    assert (stage["num_train"], stage["state"]["step"]) == (40, 15)
    assert stage["num_trained_parameters"] < stage["num_parameters"]
    assert stage["base_bytes"] > stage["model_bytes"] > 0
    rejected = [json.loads(line) for line in (out / "data" / "rejected.jsonl").open()]
    assert {record["reason"] for record in rejected} == {"no_final_answer", "duplicate"}
    assert json.loads((out / "unspoken.json").read_text())["template"] == "qa"


def test_full_finetuning_leaves_a_whole_model(tmp_path: Path) -> None:
    out = distil(tmp_path, full_finetuning=True, precision="fp32")
    assert not is_adapter(str(out))
    assert (out / "model.safetensors").exists()
    assert load_recipe(out / "recipe.yaml").train.optimizer == "adamw"
    with pytest.raises(RecipeError, match=r"full_finetuning: found it with quantization=nf4"):
        distil(tmp_path, full_finetuning=True, quantization="nf4")


def test_all_linear_takes_every_projection(tmp_path: Path) -> None:
    out = distil(tmp_path, target_modules="all-linear", quantization="none", optimizer="adamw")
    targets = json.loads((out / "adapter_config.json").read_text())["target_modules"]
    assert "model.layers.0.mlp.gate_proj" in targets


def test_traces_of_test_questions_are_left_out(tmp_path: Path) -> None:
    test = tmp_path / "test_questions.jsonl"
    test.write_text(json.dumps({"question": "what is 7 + 1 ?", "answer": "8"}) + "\n")
    out = distil(tmp_path, test=test, quantization="none", optimizer="adamw")
    stage = json.loads((out / "distilled" / "stage.json").read_text())
    assert stage["num_train"] == 39
    assert json.loads((out / "distilled" / "evaluation.json").read_text())["num_graded"] == 1


def test_changed_flags_run_again_and_keep_the_adapter_of_before(tmp_path: Path) -> None:
    out = distil(tmp_path, quantization="none", optimizer="adamw")
    before = (out / "adapter_model.safetensors").read_bytes()
    distil(tmp_path, quantization="none", optimizer="adamw", lr=1e-3)
    assert (out / "adapter_model.safetensors").read_bytes() != before
    kept = out / "old" / "1" / "distilled" / "model" / "adapter_model.safetensors"
    assert kept.read_bytes() == before


def test_an_interrupted_run_resumes_from_a_named_checkpoint(tmp_path: Path) -> None:
    """Stopped by SIGTERM; resumed from an older checkpoint; the adapter is that of a whole run."""
    student, data = tiny_qwen2(tmp_path / "student"), traces(tmp_path)

    def command(out: Path, *more: str) -> list[str]:
        return [
            "-m", "unspoken", "distil", "--student_dir", str(student), "--data",
            str(data), "--out_dir", str(out), "--epochs", "6", "--save_steps", "5", *more,
            "train.threads=1", "train.keep_checkpoints=9",
        ]  # fmt: skip

    out = tmp_path / "out"
    process = Forked(*command(out))
    while not (out / "distilled" / "checkpoint-10").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait().returncode == 75
    checkpoint = str(out / "checkpoint-5")  # as the seed writes it; it stands in distilled/
    done = alone(*command(out, "--resume_from_checkpoint", checkpoint))
    assert done.returncode == 0, done.stderr
    assert "distil: goes on" in done.stdout
    assert (out / "distilled" / "newer-checkpoint-10").is_dir()
    assert alone(*command(tmp_path / "whole")).returncode == 0
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    (tmp_path / "c").mkdir()
    for file in ("training.pt", "state.json"):
        (tmp_path / "c" / file).write_text('{"step": 3}')
    settings = json.loads((out / "distilled" / "stage.json").read_text())["settings"]
    with pytest.raises(ModelError, match=r"is done; needed: a run that was interrupted"):
        resume_from(tmp_path / "c", out / "distilled", settings)
    other = {**settings, "train": {**settings["train"], "epochs": 4}}
    with pytest.raises(ModelError, match=r"begun with other settings \(train.epochs: 6.0 -> 4\)"):
        resume_from(tmp_path / "c", out / "distilled", other)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"checkpoint-500: no checkpoint .* leave it out"):
        distil(tmp_path, resume_from_checkpoint=tmp_path / "checkpoint-500")


def test_another_kind_of_student_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    out = distil(tmp_path, quantization="none", optimizer="adamw")
    distil(tmp_path, full_finetuning=True)
    assert not is_adapter(str(out))
    assert (out / "model.safetensors").exists()
    kept = out / "old" / "1" / "distilled" / "model"
    assert kept.exists()
    distil(tmp_path, quantization="none", optimizer="adamw")  # is taken back, not trained again
    assert is_adapter(str(out))
    assert not (out / "model.safetensors").exists()
    assert not kept.exists()


def test_a_rank_that_the_student_does_not_have_is_refused(tmp_path: Path) -> None:
    out = distil(tmp_path, quantization="none", optimizer="adamw")
    flags = {"student_dir": str(out), "out_dir": tmp_path / "second", "quantization": "none"}
    with pytest.raises(RecipeError, match=r"lora.r: found 16, but .* is an adapter with 8"):
        distil(tmp_path, r=16, **flags)
