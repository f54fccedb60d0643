"""What torchrun starts in each process of a test: `python -m helpers.worker NAME job.json`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch.distributed.tensor import DTensor

from helpers.recipes import tiny_recipe
from helpers.training import put_wall, stop_after
from unspoken.common.errors import DataError
from unspoken.data.tasks.multiplication import examples
from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
from unspoken.parallel.world import join_processes
from unspoken.recipe import Model


def train(job: Path) -> None:
    """One process: trains from scratch, and goes on from a checkpoint of one process."""
    values = json.loads(job.read_text())
    place = as_a_host_of_its_own(job.parent) if values.get("separate_files") else job.parent
    process = join_processes()
    if values.get("wall"):
        put_wall()
    for name, stop_step, sections in values["runs"]:
        folder = place / name
        part = stop_after(stop_step, tiny_recipe(folder, **sections), folder)
        if values.get("separate_files"):  # checkpoints hold a folder, too
            part.checkpoints.tokenizer.chat_template = {"default": "", "tool_use": ""}
        if process.is_main_process:
            facts = {
                "wrapped": type(part.model).__name__,
                "device": part.accelerator.device.type,
                "optimizer": type(part.optimizer.optimizer).__name__,
                "held": sum(local_part(p).numel() for p in part.bare_model.parameters()),
                "all": sum(num_elements(p) for p in part.bare_model.parameters()),
                "sharded": all(isinstance(p, DTensor) for p in part.bare_model.parameters()),
            }
            (job.parent / f"{name}.json").write_text(json.dumps(facts))
        try:
            part.run()
        except SystemExit:
            assert stop_step < part.length.num_steps
    process.destroy_process_group()


def as_a_host_of_its_own(folder: Path) -> Path:
    """Makes this process alone on a host, and returns the folder that only it sees."""
    rank = os.environ["RANK"]
    alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": rank}
    os.environ.update(alone, UNSPOKEN_SEPARATE_FILES="1")
    return folder / f"host-{rank}"


def answer(model: Path, folder: Path, process: Any = None) -> list[dict[str, Any]]:
    """Greedy answers, then two samples of each question; their figures."""
    questions = list(examples([(2, 2)], 60, 0, 30)["test"])
    return [
        evaluate_folder(
            Model(name=str(model)),
            questions,
            folder / f"samples-{num_samples}.jsonl",
            EvaluateOptions(
                batch_size=4, num_latency=1, num_samples=num_samples, temperature=temperature
            ),
            process=process,
        )
        for num_samples, temperature in ((1, 0.0), (2, 1.0))
    ]


def answer_share(job: Path) -> None:
    """One process: answers its share."""
    from accelerate import PartialState

    process = PartialState(cpu=True)
    figures = answer(Path(json.loads(job.read_text())["model"]), job.parent, process)
    if process.is_main_process:
        (job.parent / "figures.json").write_text(json.dumps(figures))
    process.destroy_process_group()


def fail(job: Path) -> None:
    """One process: the second fails as a user's mistake does, while the first waits for it."""
    from accelerate import PartialState

    from unspoken.cli import main as cli
    from unspoken.cli import score

    def one_fails() -> None:
        process = PartialState(cpu=True)
        if process.process_index == 1:
            raise DataError("questions.jsonl:3: found no question; needed: one; write it")
        process.wait_for_everyone()

    score.score = one_fails
    cli.main(["score"])


def local_part(parameter: Any) -> Any:
    """What this process holds of it for good."""
    parameter = getattr(parameter, "ds_tensor", parameter)
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def num_elements(parameter: Any) -> int:
    return getattr(parameter, "ds_numel", parameter.numel())


if __name__ == "__main__":
    WORKERS = {"train": train, "answer": answer_share, "fail": fail}
    WORKERS[sys.argv[1]](Path(sys.argv[2]))
