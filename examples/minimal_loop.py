"""Stepwise Internalization on one page: a small GPT-2 learns to multiply without writing it down.

The method of "From Explicit CoT to Implicit CoT: Learning to Internalize CoT Step by Step" (Deng,
Choi and Shieber, arXiv 2405.14838). An example is a prompt x, a thought z_1 ... z_m and an answer
y. At optimizer step t the first s(t) tokens of the thought are left out, and the model learns the
rest of it and the answer:

    minimize   -log P(y, z_{s(t)+1}, ..., z_m | x),        s(t) = floor(delta t / T) + o

delta tokens go in T steps, so that at the end nothing is left of the thought. Each example has an
offset o of its own, P(o = k) = (1 - e^-lambda) e^(-lambda k), which lets a few of them run ahead:
the step from one level to the next is smaller. Whenever floor(delta t / T) grows, AdamW forgets its
moments: they belong to another objective.

    python examples/minimal_loop.py               two or three minutes on a laptop
    python examples/minimal_loop.py --steps 20    seconds, and nothing learned

`unspoken.train.loop` is this loop with what long runs need: several processes, mixed precision,
accumulation, checkpoints, validation, and schedules that wait for the loss.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import GPT2Config, GPT2LMHeadModel

from unspoken.data.tasks.multiplication import examples
from unspoken.measure.evaluate import EvaluateOptions, evaluate
from unspoken.models.template import Template
from unspoken.models.tokenizer import character_tokenizer
from unspoken.recipe import Schedule
from unspoken.train.collate import IGNORE, collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.schedule import ALL, Removal, sample_offsets

SEED, BATCH_SIZE, LEARNING_RATE, MAX_NORM = 0, 64, 1e-3, 1.0

# `12*34=` in digits, least significant first: prompt 21*43=, thought 840+0630, answer #8040.
TOKENIZER, TEMPLATE = character_tokenizer("0123456789*=+()#"), Template("compact")
SPLITS = examples([(2, 2)], num_train=7000, num_valid=0, num_test=200, seed=SEED)

# All of the thought is gone after 80 % of the steps; lambda = 4 offsets one example in 55.
SCHEDULE = Schedule(removal="linear", per="run", smoothing=4.0)


def make_model() -> GPT2LMHeadModel:
    """Two layers from scratch, without dropout."""
    torch.manual_seed(SEED)
    size = {"n_layer": 2, "n_head": 4, "n_embd": 128, "n_positions": 32}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    end = TOKENIZER.eos_token_id
    ids = {"vocab_size": len(TOKENIZER), "bos_token_id": end, "eos_token_id": end}
    return GPT2LMHeadModel(GPT2Config(**size, **dropout, **ids))


def make_dataset() -> CoTDataset:
    """The training examples as token ids: prompt, thought, answer."""
    return encode_examples(list(SPLITS["train"]), TOKENIZER, TEMPLATE)


def train(model: GPT2LMHeadModel, dataset: CoTDataset, num_steps: int) -> list[float]:
    """Removes the thought while the model learns; returns the loss of each step."""
    steps_per_epoch = dataset.steps_per_epoch(BATCH_SIZE)
    removal = Removal(SCHEDULE, dataset.longest_thought, steps_per_epoch, num_steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    state, losses = removal.initial(), []
    for step in range(num_steps):
        # which examples, and how many thought tokens of each are gone
        indices = dataset.batch_indices(step, BATCH_SIZE, SEED)
        offsets = sample_offsets(SEED, step, BATCH_SIZE, removal.smoothing(state))
        removed = state.removed + offsets
        inputs = collate(dataset, indices, removed).tensors("cpu")

        # -log P of the tokens that are left, a mean over all of them
        labels = inputs.pop("labels")  # (B, C)
        logits = model(**inputs).logits  # (B, C, V)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

        # the level of the next step; a new one begins without the moments of the old
        before = state
        if step + 1 < num_steps:
            state = removal.advance(before, step + 1, loss.item())
        if removal.reset_needed(before, state):
            optimizer.state.clear()
        if state.removed != before.removed or step + 1 == num_steps:
            gone = "all" if before.removed >= ALL else before.removed
            right = measure_accuracy(model)
            print(f"step {step + 1:5}  removed {gone:>3}  loss {losses[-1]:.3f}  right {right:.0%}")
    return losses


def measure_accuracy(model: GPT2LMHeadModel) -> float:
    """Share of held-out questions that are answered correctly, whatever is thought before."""
    questions = list(SPLITS["test"])
    options = EvaluateOptions(max_new_tokens=20, batch_size=200)
    _, metrics = evaluate(model, TOKENIZER, TEMPLATE, questions, options)
    model.train()
    return metrics.accuracy or 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Stepwise Internalization on one page.")
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps (default 3000)")
    train(make_model(), make_dataset(), parser.parse_args().steps)
