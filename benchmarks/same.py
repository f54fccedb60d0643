"""Prints what a tiny run leaves as hashes, to show that a change left training and answers alone.

    make same > before.txt        at the commit before
    make same | diff before.txt -

Training, decoding and judging are deterministic on one machine with one set of versions, so equal
hashes mean equal weights, traces, answers and losses, to the bit. The run has every stage: worked
solutions, vetting, a student that is distilled and internalized with removal that adapts, dropout,
accumulated batches and a learning rate that falls; then drawn traces, drawn answers, and answers
that are judged again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

RECIPE = """
name: same
template: compact
data: {task: multiplication, digits: [[2, 2]], num_train: 1500, num_valid: 60, num_test: 60}
teacher: {engine: worked}
model:
  tokenizer: characters
  alphabet: "0123456789*=+()#"
  config: {model_type: gpt2, n_layer: 2, n_head: 4, n_embd: 64, n_positions: 64, resid_pdrop: 0.1,
           embd_pdrop: 0.0, attn_pdrop: 0.0}
schedule: {removal: adaptive, positions: gap, loss_below: 50, window: 2}
train: {max_steps: 60, settle_steps: 10, batch_size: 32, micro_batch_size: 16, learning_rate: 1e-3,
        warmup_steps: 5, evaluate_every: 15, num_valid: 30, threads: 1}
distil: {max_steps: 60, settle_steps: null, lr_schedule: linear}
evaluate: {batch_size: 25, num_latency: 2}
baselines: {no_cot: true, untrained: true}
output: run
"""
#: After the run; the names of the files that they write are those that are hashed.
COMMANDS = (
    "generate --teacher_dir run/distilled/model --prompt trained --input run/data/test.jsonl "
    "--output drawn/traces.jsonl --samples_per_question 2 --temperature 0.8 --batch_size 16 "
    "--seed 3",
    "evaluate --base_model run/distilled/model --input run/data/test.jsonl "
    "--output drawn/predictions.jsonl --num_samples 3 --temperature 0.7",
    "score --input run/distilled/predictions.jsonl --output scored/predictions.jsonl",
)
#: What does not depend on the clock, of a line of metrics and of a trace.
KEPT = {
    "metrics.jsonl": ("step", "loss", "removed", "accuracy"),
    "traces.jsonl": ("id", "cot", "num_tokens", "stopped"),
}
WHOLE = ("model.safetensors", "predictions.jsonl", "dataset.jsonl")


def unspoken(arguments: str, folder: Path) -> None:
    """Runs one verb in `folder`; what it says goes to standard error."""
    command = [sys.executable, "-m", "unspoken", *arguments.split()]
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "UNSPOKEN_CACHE": str(folder / "cache")},
        stdout=sys.stderr,
        check=True,
    )


def hashes(folder: Path) -> Iterator[str]:
    """A line for each model, file of answers or traces, and curve under `folder`."""
    for path in sorted(folder.rglob("*")):
        if path.name in WHOLE:
            content = path.read_bytes()
        elif path.name in KEPT:
            records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            content = json.dumps(
                [[record.get(key) for key in KEPT[path.name]] for record in records]
            ).encode()
        else:
            continue
        yield f"{hashlib.sha256(content).hexdigest()[:16]}  {path.relative_to(folder)}"


def main() -> None:
    """Runs everything in a folder that is removed afterwards, and prints the hashes."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "same.yaml").write_text(RECIPE, encoding="utf-8")
        for command in ("run same.yaml", *COMMANDS):
            unspoken(command, folder)
        print("\n".join(hashes(folder)))


if __name__ == "__main__":
    main()
