"""Losses on a GPU beside the CPU's fp32 ones of the same seed, and of one way beside another."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.gpu import ON_A_GPU, SMALL, largest_difference, train, train_on_the_cpu
from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, losses, stop_after, trainer
from unspoken.common.memory import reset_peak
from unspoken.parallel.precision import resolve_precision
from unspoken.train.checkpoint import TrainState
from unspoken.train.collate import IGNORE, Batch
from unspoken.train.loop import StepwiseInternalization
from unspoken.train.loss import summed_cross_entropy

pytestmark = [*ON_A_GPU, pytest.mark.gpu]

#: Sums in another order, and 24 steps of AdamW that carry the difference on (losses are 3 to 2).
FP32 = 2e-4
#: bf16 keeps 8 bits of a number, an error of 0.4 % in each, and AdamW carries it on: 0.03 on a CPU.
BF16 = 6e-2
#: fp16 keeps 11 bits, so an eighth of that; twice as much is allowed.
FP16 = 1.5e-2
#: More scale than any gradient bears: fp16 ends at 65504.
HUGE = 2.0**40
#: A scale at which no gradient here overflows.
NO_OVERFLOW = 2.0**8


def test_fp32_losses_are_the_cpus(tmp_path: Path, plain: Path) -> None:
    assert largest_difference(losses(plain), train_on_the_cpu(tmp_path)) < FP32


def test_bf16_losses_are_near_the_cpus_fp32(tmp_path: Path) -> None:
    ours = train(tmp_path / "bf16", train={"precision": "bf16"})
    theirs = train_on_the_cpu(tmp_path / "fp32")
    assert 0 < largest_difference(ours, theirs) < BF16


@pytest.mark.usefixtures("cuda")
def test_fp16_losses_are_near_the_cpus_fp32(tmp_path: Path) -> None:
    """From a scale at which no gradient overflows: a step that is skipped moves all after it."""
    recipe = tiny_recipe(tmp_path / "fp16", model=SMALL, train={"precision": "fp16"})
    training = trainer(recipe, tmp_path / "fp16")
    _set_scale(training, NO_OVERFLOW)
    training.run()
    theirs = train_on_the_cpu(tmp_path / "fp32")
    assert 0 < largest_difference(losses(tmp_path / "fp16"), theirs) < FP16


def test_precision_auto_is_bf16_on_a_gpu_that_has_it(tmp_path: Path, device: str) -> None:
    recipe = resolve_precision(tiny_recipe(tmp_path, train={"precision": "auto"}), 16)
    assert recipe.train.precision == ("bf16" if device == "cuda" else "fp32")


@pytest.mark.usefixtures("cuda")
def test_an_overflow_in_fp16_skips_the_step_and_training_goes_on(tmp_path: Path) -> None:
    """The scale begins far too large: each step is skipped and halves it, until one is taken."""
    recipe = tiny_recipe(tmp_path, model=SMALL, train={"precision": "fp16", "max_steps": 60})
    seen: list[tuple[float, torch.Tensor]] = []

    def watch(moment: str, state: TrainState) -> None:
        if moment == "step":
            weights = [weight.detach().flatten() for weight in overflowing.bare_model.parameters()]
            seen.append((_scale_of(overflowing), torch.cat(weights).cpu()))

    overflowing = trainer(recipe, tmp_path, watch=watch)
    _set_scale(overflowing, HUGE)
    overflowing.run()
    scales, weights = zip(*seen, strict=True)
    changed = [not torch.equal(weights[0], each) for each in weights]
    skipped = changed.index(True) - 1  # steps before the first that was taken
    assert 5 < skipped < 40
    assert list(scales[: skipped + 1]) == [HUGE / 2**step for step in range(skipped + 1)]
    assert scales[skipped + 1] == scales[skipped]
    assert all(map(math.isfinite, scales))
    assert bool(torch.isfinite(weights[-1]).all())
    found = losses(tmp_path)
    assert all(map(math.isfinite, found))
    assert np.mean(found[-5:]) < np.mean(found[:5]) - 0.2


@pytest.mark.usefixtures("cuda")
def test_the_scale_of_fp16_survives_a_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, model=SMALL, train={"precision": "fp16"})
    first = stop_after(3, recipe, tmp_path)
    _set_scale(first, HUGE)
    with pytest.raises(SystemExit):
        first.run()
    assert _scale_of(first) == HUGE / 2**4  # all four steps were skipped
    scales: list[float] = []
    again = trainer(recipe, tmp_path, watch=lambda moment, state: scales.append(_scale_of(again)))
    again.run()
    assert scales[0] == _scale_of(first)


def _set_scale(training: StepwiseInternalization, scale: float) -> None:
    """Sets what fp16's losses are multiplied by."""
    scaler: Any = training.processes.scaler
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale})


def _scale_of(training: StepwiseInternalization) -> float:
    scaler: Any = training.processes.scaler
    return scaler.get_scale()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_of_many_logits_in_chunks_is_torchs(device: str, dtype: torch.dtype) -> None:
    """Above 2^24 logits; the gradient too, which is written where the logits were."""
    torch.manual_seed(0)
    drawn = torch.randn(4100, 4100, device=device, dtype=dtype)
    labels = torch.randint(4100, (4100,), device=device)
    labels[::7] = IGNORE
    results = []
    for loss_of in (summed_cross_entropy, _plain_cross_entropy):
        leaf = drawn.clone().requires_grad_()
        loss = loss_of(leaf * 1, labels)
        (loss / 100).backward()
        results.append((loss.item(), leaf.grad))
    (ours, gradient), (theirs, expected) = results
    assert ours == pytest.approx(theirs, rel=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-2)


def _plain_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORE, reduction="sum"
    )


@pytest.mark.parametrize("positions", [False, True])
def test_pinned_batches_arrive_as_they_were(device: str, positions: bool) -> None:
    """Copied while the next ones are made; each is looked at when the last one is on its way."""
    draw = np.random.default_rng(0)
    shape = (64, 300)
    batches = [
        Batch(
            input_ids=draw.integers(0, 9, shape),
            labels=draw.integers(0, 9, shape),
            position_ids=draw.integers(0, 9, shape) if positions else None,
            label_columns=np.arange(100, 298),
        )
        for _ in range(50)
    ]
    moved = [batch.tensors(torch.device(device)) for batch in batches]
    for batch, tensors in zip(batches, moved, strict=True):
        assert {tensor.device.type for tensor in tensors.values()} == {device}
        assert np.array_equal(tensors["input_ids"].cpu().numpy(), batch.input_ids)
        assert np.array_equal(tensors["logits_to_keep"].cpu().numpy(), batch.label_columns)
        expected = batch.labels[:, batch.label_columns + 1]
        assert np.array_equal(tensors["labels"].cpu().numpy(), expected)
        assert ("position_ids" in tensors) == positions
        if batch.position_ids is not None:
            assert np.array_equal(tensors["position_ids"].cpu().numpy(), batch.position_ids)
            assert bool((tensors["attention_mask"] == 1).all())


def test_losses_with_gaps_in_the_positions_are_the_cpus(tmp_path: Path) -> None:
    """With a mask, attention takes another kernel."""
    gaps: dict[str, Any] = {"schedule": {"positions": "gap"}}
    ours = train(tmp_path / "device", **gaps)
    assert largest_difference(ours, train_on_the_cpu(tmp_path / "cpu", **gaps)) < FP32


def test_losses_with_gaps_in_bf16_are_near_the_cpus_fp32(tmp_path: Path) -> None:
    gaps: dict[str, Any] = {"schedule": {"positions": "gap"}}
    ours = train(tmp_path / "device", **gaps, train={"precision": "bf16"})
    assert largest_difference(ours, train_on_the_cpu(tmp_path / "cpu", **gaps)) < BF16


def test_losses_with_whole_steps_removed_are_the_cpus(tmp_path: Path) -> None:
    steps: dict[str, Any] = {"schedule": {"unit": "step", "delta": 2}}
    ours = train(tmp_path / "device", **steps)
    assert largest_difference(ours, train_on_the_cpu(tmp_path / "cpu", **steps)) < FP32


def test_micro_batches_are_the_whole_batch(tmp_path: Path, plain: Path) -> None:
    ours = train(tmp_path, train={"micro_batch_size": 4})
    assert largest_difference(ours, losses(plain)) < FP32


def test_gradient_checkpointing_has_the_same_losses(tmp_path: Path, plain: Path) -> None:
    ours = train(tmp_path, train={"gradient_checkpointing": True})
    assert largest_difference(ours, losses(plain)) < FP32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_gradient_checkpointing_and_micro_batches_under_autocast(
    tmp_path: Path, device: str, precision: str
) -> None:
    """What is computed again takes the casts of the step, which its micro-batches share."""
    if precision == "fp16" and device == "cpu":
        pytest.skip("fp16 is for GPUs")
    less = {"gradient_checkpointing": True, "micro_batch_size": 4}
    for name, settings in (("less", less), ("plain", {})):
        recipe = tiny_recipe(tmp_path, model=SMALL, train={"precision": precision, **settings})
        training = trainer(recipe, tmp_path / name)
        if precision == "fp16":
            _set_scale(training, NO_OVERFLOW)
        training.run()
    assert largest_difference(losses(tmp_path / "less"), losses(tmp_path / "plain")) < BF16


@pytest.mark.usefixtures("cuda")
def test_gradient_checkpointing_takes_less_memory(tmp_path: Path) -> None:
    """Eight layers keep their inputs instead of all that they computed."""
    peaks = []
    for checkpointing in (False, True):
        sizes = {"n_layer": 8, "n_embd": 256}
        recipe = tiny_recipe(
            tmp_path,
            model={**SMALL, "config": {**SMALL["config"], **sizes}},
            train={"batch_size": 256, "gradient_checkpointing": checkpointing, "max_steps": 2},
        )
        training = trainer(recipe, tmp_path / str(checkpointing))
        gc.collect()  # of the training before
        reset_peak()
        peaks.append(training.run().peak_memory_bytes["gpu"])
        del training
    assert peaks[1] < 0.7 * peaks[0]


@pytest.mark.integration  # the compiler starts processes
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("cuda")  # minutes on a CPU, where it went through once
def test_a_compiled_model_has_the_same_losses(tmp_path: Path) -> None:
    """`-k "not compiled"` leaves it out, which takes half a minute."""
    small: dict[str, Any] = {"model": NO_DROPOUT, "train": {"max_steps": 2}}
    compiled = {**small, "train": {**small["train"], "compile": True}}
    ours = train(tmp_path / "compiled", **compiled)
    assert largest_difference(ours, train(tmp_path / "plain", **small)) < FP32
