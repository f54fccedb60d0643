from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from helpers.adapters import base_model, recipe
from helpers.training import losses, stop_after, trainer
from unspoken.check import hub
from unspoken.check.recipe import check_recipe
from unspoken.common.errors import ModelError, RecipeError
from unspoken.models.adapter import base_of, choose_targets, is_adapter
from unspoken.models.export.folder import find_sources
from unspoken.models.load import load_model, load_tokenizer, read_width
from unspoken.parallel.processes import torch_optimizer
from unspoken.recipe import Model
from unspoken.run.measure import model_in
from unspoken.run.run import run_recipe

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_lora_trains_the_adapter_alone_and_saves_it_alone(tmp_path: Path, kind: str) -> None:
    folder = run_recipe(recipe(tmp_path, kind, lora={}), progress=False).parent
    model = folder / "internalized" / "model"
    assert is_adapter(str(model))
    assert base_of(str(model)) == str(tmp_path / "base")
    assert not (model / "model.safetensors").exists()
    config = json.loads((model / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.05)
    expected = {
        "gpt2": {"c_attn", "c_proj", "c_fc"},
        "qwen2": {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
    }
    assert set(config["target_modules"]) == expected[kind]
    stage = json.loads((folder / "internalized" / "stage.json").read_text())
    assert stage["level"] == "all"
    assert (folder / "internalized" / "evaluation.json").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "paged_adamw_8bit", "adamw_8bit", "sgd"])
def test_qlora_on_a_cpu(tmp_path: Path, optimizer: str) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")
    made = recipe(tmp_path, lora={}, model={"quantization": "nf4"}, train={"optimizer": optimizer})
    folder = run_recipe(made, progress=False).parent
    assert is_adapter(str(folder / "internalized" / "model"))


def test_paged_moments_are_forgotten_where_they_are(tmp_path: Path) -> None:
    """Their memory never comes back, so a removal makes them 0; others are dropped: the same."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")
    sections = {"lora": {"r": 64}, "schedule": {"delta": 8}}  # 4096 numbers have moments in 8 bits
    for optimizer in ("paged_adamw_8bit", "adamw_8bit"):
        made = recipe(tmp_path, **sections, train={"optimizer": optimizer})
        training = trainer(made, tmp_path / optimizer)
        training.run()
        moments = torch_optimizer(training.optimizer).state.values()
        assert torch.uint8 in {state["state1"].dtype for state in moments}
        assert {state["step"] for state in moments} != {24}  # forgotten on the way
    assert losses(tmp_path / "paged_adamw_8bit") == losses(tmp_path / "adamw_8bit")


def test_phases_of_a_lora_student_go_on_with_its_adapter(tmp_path: Path) -> None:
    """Distilled first, internalized from that adapter then."""
    phases = [
        {"name": "distil", "schedule": {"removal": "none"}},
        {"name": "internalize", "schedule": {"removal": "linear", "delta": 60}},
    ]
    folder = run_recipe(recipe(tmp_path, lora={}, phases=phases), progress=False).parent
    last = folder / "internalized" / "2-internalize"
    assert base_of(str(last / "model")) == str(tmp_path / "base")
    assert json.loads((last / "stage.json").read_text())["level"] == "all"


def test_resuming_a_lora_run_is_exact(tmp_path: Path) -> None:
    made = recipe(tmp_path, lora={"dropout": 0.2})

    def adapter(folder: Path, *stops: int) -> dict[str, torch.Tensor]:
        for stop in stops:
            with pytest.raises(SystemExit):
                stop_after(stop, made, folder).run()
        return load_file(trainer(made, folder).run().folder / "adapter_model.safetensors")

    whole, parts = adapter(tmp_path / "whole"), adapter(tmp_path / "parts", 7, 12)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_targets_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"found fancy_proj, which the .*; needed: some of .*q_proj"
    ):
        run_recipe(recipe(tmp_path, lora={"target_modules": ["fancy_proj"]}), progress=False)
    assert choose_targets(["c_attn", "w1"]) == ["c_attn", "w1"]


def test_what_cannot_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"add a section lora"):
        recipe(tmp_path, model={"quantization": "nf4"})
    with pytest.raises(RecipeError, match=r"schedule.positions=natural, or train without lora"):
        recipe(tmp_path, lora={}, schedule={"positions": "gap"})


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"train": {"optimizer": "muon"}}, r"train\.optimizer: found muon.*base.* is an adapter"),
        ({"schedule": {"positions": "gap"}}, r"schedule.positions=natural, or take a whole model"),
    ],
)
def test_an_adapter_is_refused_what_a_section_lora_is(
    tmp_path: Path, wish: dict[str, Any], told: str
) -> None:
    """Its folder alone says that it is one: muon made both of its thin matrices orthogonal."""
    made = recipe(tmp_path, lora={})
    tokenizer = load_tokenizer(made.model)
    adapter = tmp_path / "base-adapter"
    load_model(made.model, tokenizer, lora=made.lora).save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    other = recipe(tmp_path, model={"name": str(adapter)}, **wish)
    with pytest.raises(RecipeError, match=told):
        list(check_recipe(other))
    with pytest.raises(RecipeError, match=told):
        run_recipe(other, progress=False)


PINNED, MAIN = "a" * 40, "b" * 40


def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with two revisions of me/tiny: v1, and a main of other sizes."""
    root = tmp_path / "cache" / "models--me--tiny"
    for commit, name, size in ((PINNED, "v1", 64), (MAIN, "main", 32)):
        base_model(root / "snapshots" / commit, "gpt2", n_embd=size)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / name).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return root


def test_an_adapter_of_a_pinned_model_keeps_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked, trained on and exported with whatever the main branch held."""
    root = hub_cache(tmp_path, monkeypatch)
    pinned = {"name": "me/tiny", "revision": "v1", "local_files_only": True}
    phases = [{"name": "a", "schedule": {"removal": "none"}}, {"name": "b"}]
    sections = {"lora": {}, "phases": phases, "train": {"max_steps": 2}}
    run_folder = run_recipe(recipe(tmp_path, model=pinned, **sections), progress=False).parent

    folder = run_folder / "internalized" / "2-b" / "model"  # each phase loads the one before
    assert json.loads((folder / "adapter_config.json").read_text())["revision"] == "v1"
    assert find_sources(folder).base == root / "snapshots" / PINNED
    alone = Model(name=str(folder), local_files_only=True)
    assert read_width(alone) == 64
    assert load_model(alone, load_tokenizer(alone), purpose="ask").config.n_embd == 64
    named = Model(name="me/tiny", local_files_only=True)
    laid = load_model(named, load_tokenizer(named), adapter=folder)
    assert laid.config.n_embd == 64
    assert find_sources("me/tiny", folder).base == root / "snapshots" / PINNED

    shutil.rmtree(root / "snapshots" / MAIN)
    (root / "refs" / "main").unlink()
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    hub.require_hub_or_files(recipe(tmp_path, model=alone.model_dump(exclude_unset=True)))
    shutil.rmtree(root)
    with pytest.raises(ModelError, match=r"model\.name: me/tiny is not on this machine"):
        hub.require_hub_or_files(recipe(tmp_path, model=alone.model_dump(exclude_unset=True)))


def test_an_adapter_from_before_revisions_has_that_of_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_cache(tmp_path, monkeypatch)
    pinned = {"name": "me/tiny", "revision": "v1", "local_files_only": True}
    made = recipe(tmp_path, model=pinned, lora={}, train={"max_steps": 2})
    folder = run_recipe(made, progress=False).parent / "internalized" / "model"
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "revision": None}))

    settings = model_in(folder, made.model)
    model = load_model(settings, load_tokenizer(settings), lora=made.lora)
    assert model.config.n_embd == 64
    assert model.peft_config["default"].revision == "v1"


def peft_adapter(tmp_path: Path) -> Path:
    """An adapter as peft alone saves it: no tokenizer, no unspoken.json."""
    made = recipe(tmp_path, lora={})
    model = load_model(made.model, load_tokenizer(made.model), lora=made.lora)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    return tmp_path / "adapter"


def test_an_adapter_without_a_tokenizer_has_that_of_its_base(tmp_path: Path) -> None:
    adapter = Model(name=str(peft_adapter(tmp_path)))
    tokenizer = load_tokenizer(adapter)
    assert tokenizer.get_vocab() == load_tokenizer(Model(name=str(tmp_path / "base"))).get_vocab()
    assert is_adapter(adapter.name)
    load_model(adapter, tokenizer, purpose="ask")


def test_an_adapter_whose_base_is_gone_says_so(tmp_path: Path) -> None:
    adapter = peft_adapter(tmp_path)
    settings = Model(name=str(adapter))
    tokenizer = load_tokenizer(settings)
    (tmp_path / "base").rename(tmp_path / "moved")
    gone = f"{adapter}': found an adapter of {tmp_path / 'base'}, which is not on this machine"
    with pytest.raises(ModelError, match=re.escape(gone)):
        load_tokenizer(settings)
    with pytest.raises(ModelError, match=re.escape(gone)):
        load_model(settings, tokenizer)
