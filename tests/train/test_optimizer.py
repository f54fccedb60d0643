"""What the optimizer keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GptOssConfig, MambaConfig

from helpers.recipes import tiny_recipe
from helpers.training import stop_after, trainer, weights
from unspoken.common.errors import RecipeError
from unspoken.common.machine import cpu_has_bfloat16
from unspoken.parallel.processes import torch_optimizer
from unspoken.train.optimizer import make_optimizer, step_in_fp32


def test_bf16_keeps_fp32_weights_and_optimizer_state(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "bf16", "max_steps": 3})
    mixed = trainer(recipe, tmp_path)
    result = mixed.run()
    assert {tensor.dtype for tensor in weights(result.folder).values()} == {torch.float32}
    moments = [state["exp_avg"] for state in mixed.optimizer.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_muon_updates_matrices_and_adamw_the_rest(tmp_path: Path) -> None:
    """Against both of torch's, stepped by hand over the same gradients."""
    made = trainer(tiny_recipe(tmp_path, train={"optimizer": "muon"}), tmp_path)
    model, ours = made.bare_model, torch_optimizer(made.optimizer)
    named = dict(model.named_parameters())
    matrices = {name for name, p in named.items() if ".h." in name and p.ndim == 2}
    assert matrices  # the projections of attention and MLP; tables and their tied output are not
    assert "transformer.wte.weight" in named and "transformer.wpe.weight" in named
    before = {name: p.detach().clone() for name, p in named.items()}
    for seed, p in enumerate(named.values()):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
    settings = made.recipe.train
    rate, decay = settings.learning_rate, settings.weight_decay
    assert {group["lr"] for group in ours.param_groups} == {rate}
    ours.step()
    for name, p in named.items():
        copy = torch.nn.Parameter(before[name].clone())
        copy.grad = p.grad
        if name in matrices:
            muon = torch.optim.Muon([copy], lr=rate, weight_decay=decay,
                                    adjust_lr_fn="match_rms_adamw")  # fmt: skip
            muon.step() if cpu_has_bfloat16() else step_in_fp32(muon)
        else:
            torch.optim.AdamW([copy], lr=rate, betas=settings.betas, fused=True,
                              weight_decay=decay if p.ndim > 1 else 0.0).step()  # fmt: skip
        assert torch.equal(p, copy), name
        assert not torch.equal(p, before[name]), name


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_muon_in_fp32_is_torchs_muon(shape: tuple[int, int]) -> None:
    """But for the rounding of bf16; the state is the same, so either goes on from the other's."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    theirs, ours = (
        torch.optim.Muon([w], lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
        for w in weights
    )
    for seed in (1, 2, 3):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        for weight in weights:
            weight.grad = gradient.clone()
        theirs.step()
        step_in_fp32(ours)
    changed = (weights[0] - start).norm()
    assert (weights[0] - weights[1]).norm() < 0.02 * changed
    one, other = (muon.state[w] for muon, w in zip((theirs, ours), weights, strict=True))
    assert one.keys() == other.keys()
    assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])


def test_muon_resumed_is_muon_uninterrupted(tmp_path: Path) -> None:
    """Through a removal, which forgets the moments of both."""
    train = {"optimizer": "muon"}
    whole = trainer(tiny_recipe(tmp_path / "a", train=train), tmp_path / "a").run()
    recipe = tiny_recipe(tmp_path / "b", train=train)
    with pytest.raises(SystemExit):
        stop_after(13, recipe, tmp_path / "b").run()
    resumed = trainer(recipe, tmp_path / "b").run()
    expected, found = weights(whole.folder), weights(resumed.folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


_SMALL = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1}


@pytest.mark.parametrize(
    ("config", "matrices", "tables"),
    [
        (MambaConfig(**_SMALL, state_size=4), {"in_proj.weight", "x_proj.weight"}, {"A_log"}),
        (
            GptOssConfig(
                **_SMALL,
                intermediate_size=32,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                num_local_experts=4,
                layer_types=["full_attention"],
            ),
            {"q_proj.weight", "router.weight"},
            {"gate_up_proj_bias", "down_proj_bias"},
        ),
    ],
    ids=["mamba", "gpt_oss"],
)
def test_muon_leaves_tables_that_look_like_matrices(
    tmp_path: Path, config: Any, matrices: set[str], tables: set[str]
) -> None:
    """Decay rates of each channel, and biases of each expert: rows that are never multiplied."""
    model = AutoModelForCausalLM.from_config(config)
    made = make_optimizer(model, tiny_recipe(tmp_path, train={"optimizer": "muon"}))
    by_muon = {id(p) for group in made.param_groups if "momentum" in group for p in group["params"]}
    flat = {name: id(p) for name, p in model.named_parameters() if p.ndim == 2}
    for ending in matrices:
        assert any(own in by_muon for name, own in flat.items() if name.endswith(ending)), ending
    for ending in tables:
        found = [own for name, own in flat.items() if name.endswith(ending)]
        assert found, ending
        assert by_muon.isdisjoint(found), ending


def test_muon_is_not_for_adapters(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.optimizer: found muon, which is for whole"):
        tiny_recipe(tmp_path, lora={}, train={"optimizer": "muon"})
    with pytest.raises(RecipeError, match=r"distil\.optimizer: found muon"):
        tiny_recipe(tmp_path, lora={}, distil={"optimizer": "muon"})
