"""Two processes train, answer and write as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from helpers.launching import (
    TWO_RESETS,
    WAYS,
    close,
    run_recipe_of,
    train_alone,
)
from helpers.processes import alone, together
from helpers.recipes import tiny_recipe
from helpers.training import IMPATIENT, NO_DROPOUT, losses, put_wall, trainer, weights
from helpers.worker import answer
from unspoken.models.load import load_model
from unspoken.models.tokenizer import character_tokenizer
from unspoken.train.recovery import Recovery


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that every way is held against."""
    return train_alone(tmp_path_factory.mktemp("one"))


@pytest.mark.cluster
def test_two_processes_train_as_one_with_muon(tmp_path: Path) -> None:
    """Its updates are made in bf16, whose rounding a different order of sums may turn."""
    one, two = (
        run_recipe_of(tmp_path / name, how, optimizer="muon")
        for name, how in (("one", alone), ("two", together))
    )
    expected, found = losses(one / "internalized"), losses(two / "internalized")
    assert len(expected) == 20
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.cluster
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Same global batch: same losses, levels, validation; with accumulation and resets."""
    one, two = run_recipe_of(tmp_path / "one", alone), run_recipe_of(tmp_path / "two", together)
    for variant in ("internalized", "explicit", "no_cot"):
        expected, found = losses(one / variant), losses(two / variant)
        assert len(expected) == 20
        assert found == pytest.approx(expected, abs=1e-5)
        stages = [json.loads((run / variant / "stage.json").read_text()) for run in (one, two)]
        assert stages[0]["level"] == stages[1]["level"]
        assert stages[0]["state"]["best"].keys() == stages[1]["state"]["best"].keys()
    assert json.loads((two / "internalized" / "stage.json").read_text())["level"] == "all"
    assert (two / "report.html").exists()


#: An adapter on a frozen model, with gradient checkpointing.
ADAPTER: dict[str, Any] = {
    "lora": {"dropout": 0.0},
    "schedule": {"delta": 40},
    "train": {"micro_batch_size": 4, "max_steps": 12, "gradient_checkpointing": True},
}


def adapter(folder: Path) -> dict[str, Any]:
    """Sections for an adapter of a tiny model in `folder`."""
    tokenizer = character_tokenizer()
    settings = tiny_recipe(folder, **TWO_RESETS).model
    load_model(settings, tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {**ADAPTER, "model": {"name": str(folder), "config": None, "tokenizer": None}}


@pytest.mark.cluster
@pytest.mark.parametrize("way", WAYS)
def test_every_way_trains_as_one_process_and_any_number_goes_on(
    tmp_path: Path, one: Path, way: str
) -> None:
    """From scratch; from a checkpoint of one process, through a reset; and back to one."""
    if way.startswith("zero"):
        pytest.importorskip("deepspeed", reason="the extra unspoken[deepspeed] is not installed")
    shutil.copytree(one / "checkpoint-12", tmp_path / "resumed" / "checkpoint-12")
    lora = adapter(tmp_path / "base")
    runs = [["scratch", 99, TWO_RESETS], ["resumed", 17, TWO_RESETS], ["adapter", 99, lora]]
    (tmp_path / "job.json").write_text(json.dumps({"runs": runs}))
    done = together("-m", "helpers.worker", "train", str(tmp_path / "job.json"), **WAYS[way])
    assert done.returncode == 0, done.stdout + done.stderr
    expected = losses(one)
    removed = [json.loads(line)["removed"] for line in (one / "metrics.jsonl").open()]
    assert len(expected) == 24
    assert len(set(removed)) == 3  # two resets
    assert losses(tmp_path / "scratch") == pytest.approx(expected, abs=1e-5)
    assert losses(tmp_path / "resumed") == pytest.approx(expected[12:18], abs=1e-5)
    assert close(weights(tmp_path / "scratch" / "model"), weights(one / "model"))
    last = trainer(tiny_recipe(tmp_path / "resumed", **TWO_RESETS), tmp_path / "resumed").run()
    assert losses(tmp_path / "resumed") == pytest.approx(expected[12:], abs=1e-5)
    assert close(weights(last.folder), weights(one / "model"))
    trainer(tiny_recipe(tmp_path / "alone", **lora), tmp_path / "alone").run()
    assert losses(tmp_path / "adapter") == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)
    adapters = [
        load_file(tmp_path / name / "model" / "adapter_model.safetensors")
        for name in ("alone", "adapter")
    ]
    assert close(*adapters)
    for name in ("scratch", "resumed", "adapter"):
        facts = json.loads((tmp_path / f"{name}.json").read_text())
        if way == "ddp":
            assert facts["wrapped"] == "DistributedDataParallel"
        elif way == "fsdp2":
            assert facts["wrapped"].startswith("FSDP")
            assert facts["sharded"]
            assert facts["held"] < 0.6 * facts["all"]
        else:
            assert facts["wrapped"] == "DeepSpeedEngine"
            stage3 = "_Stage3" if way == "zero3" else ""
            assert facts["optimizer"] == f"DeepSpeedZeroOptimizer{stage3}"
            assert (facts["held"] < 0.6 * facts["all"]) == (way == "zero3")


@pytest.mark.cluster
@pytest.mark.parametrize(("way", "separate_files"), [("ddp", 0), ("ddp", 1), ("fsdp2", 0)])
def test_two_processes_go_back_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, separate_files: int
) -> None:
    """Also with the auxiliary loss, and on hosts that see different files.

    To these only the first one writes checkpoints.
    """
    monkeypatch.setattr(Recovery, "measure", Recovery.measure)  # to be put back
    sections = {**IMPATIENT, "model": NO_DROPOUT}
    own = {"reset_optimizer": False, "auxiliary_loss": 1.0}
    sections["schedule"] = {**IMPATIENT["schedule"], **own}
    job = {"runs": [["two", 999, sections]], "wall": True, "separate_files": separate_files}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = together("-m", "helpers.worker", "train", str(tmp_path / "job.json"), **WAYS[way])
    assert done.returncode == 0, done.stdout + done.stderr
    put_wall()
    one = trainer(tiny_recipe(tmp_path / "one", **sections), tmp_path / "one").run()
    assert one.state.schedule.search is not None
    assert one.state.schedule.search.undone >= 2
    two = tmp_path / "host-0" / "two" if separate_files else tmp_path / "two"
    assert losses(two) == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert close(weights(two / "model"), weights(one.folder))
    assert len(list((tmp_path / "host-1").glob("*/checkpoint-*"))) <= 1


@pytest.mark.cluster
def test_two_processes_answer_as_one(tmp_path: Path, one: Path) -> None:
    expected = answer(one / "model", tmp_path / "one")
    (tmp_path / "job.json").write_text(json.dumps({"model": str(one / "model")}))
    done = together("-m", "helpers.worker", "answer", str(tmp_path / "job.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("samples-1.jsonl", "samples-2.jsonl"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for figures, before in zip(
        json.loads((tmp_path / "figures.json").read_text()), expected, strict=True
    ):
        assert figures["num_tokens"] == before["num_tokens"]
        assert figures["latency_p50_s"] is not None
    assert not list(tmp_path.glob(".*"))


@pytest.mark.cluster
def test_two_processes_generate_as_one(tmp_path: Path, one: Path) -> None:
    """And what nobody can go on with, here traces that are all wrong, ends both of them."""
    teacher = {"engine": "transformers", "model": {"name": str(one / "model")}, "batch_size": 8}
    traces = []
    for name, launch in (("one", alone), ("two", together)):
        recipe = tiny_recipe(
            tmp_path / name / "run", data={"num_train": 60}, teacher=teacher, distil={}
        )
        (tmp_path / name).mkdir()
        path = tmp_path / name / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        done = launch("-m", "unspoken", "run", str(path))
        assert done.returncode != 0
        before, error, _ = done.stderr.partition("none of 60 traces was kept")
        assert error, done.stderr
        assert "Traceback" not in before
        folder = tmp_path / name / "run" / "traces"
        traces.append((folder / "traces.jsonl").read_bytes())
        assert sorted(path.name for path in folder.glob("*.jsonl*")) == [
            "traces.jsonl",
            "traces.jsonl.settings.json",
        ]
    assert traces[0].count(b"\n") == 60
    assert traces[0].replace(b"/one/", b"/two/") == traces[1].replace(b"/one/", b"/two/")
