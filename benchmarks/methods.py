"""Ways to internalize a thought, held against each other: tasks x methods x seeds.

For each task and seed one explicit student is trained from scratch on the task's own solutions;
every method goes on from that same model, except the one that never sees a thought. Each cell is
a run folder of its own: one that is done is only read, one that was interrupted goes on, so any
subset can be added at any time with the same command. What the JSON has of cells without a folder
here, from another machine, stays in it.

    python benchmarks/methods.py                                     # everything: many hours
    python benchmarks/methods.py --tasks 3x2 --methods adaptive hold --seeds 0 1
    python benchmarks/methods.py --seconds 3600                      # what fits; again for more
    python benchmarks/methods.py --only_write                        # the table of what is there

`steps` of a cell counts optimizer steps after the explicit model (for `no_cot` all of them) until a
validation with everything removed had 95 % right, `-` where none had; accuracy is of 1,000 (words:
300) held-out questions, answered greedily by the final model, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases import write_results

from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.recipe import recipe_from
from unspoken.report.read.run import read_run
from unspoken.run.run import run_recipe

RESULTS = Path(__file__).parent / "results" / "methods.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "internalizing.md"
PICTURE = DOCUMENT.parent / "pictures" / "internalizing.svg"
TARGET = 0.95  # right answers with nothing written

# --- what is compared ---------------------------------------------------------------------------


def gpt2(positions: int, layers: int = 2, width: int = 128) -> dict[str, Any]:
    """From scratch, without dropout: with two layers the student of the quickstart."""
    return {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_head": 4,
        "n_embd": width,
        "n_positions": positions,
        "activation_function": "relu",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def multiplication(first: int, second: int, steps: int, layers: int = 2) -> dict[str, Any]:
    """Digits times digits, with a compact template; `steps` of explicit training."""
    return {
        "template": "compact",
        "data": {
            "task": "multiplication",
            "digits": [[first, second]],
            "num_train": 60_000,
            "num_valid": 500,
            "num_test": 1_000,
        },
        "model": {
            "tokenizer": "characters",
            "alphabet": "0123456789*=+()#",
            "config": gpt2(64, layers),
        },
        "explicit_steps": steps,
    }


TASKS: dict[str, dict[str, Any]] = {
    "3x2": multiplication(3, 2, 1_400),
    "3x3": multiplication(3, 3, 3_000),
    "3x3-deep": {
        **multiplication(3, 3, 3_000, layers=4),
        "train": {"optimizer": "muon", "learning_rate": 2e-3, "precision": "fp32"},
    },
    "4x2": multiplication(4, 2, 3_000),
    "words": {
        "template": "qa",
        "data": {
            "task": "arithmetic",
            "difficulty": "easy",
            "num_train": 20_000,
            "num_valid": 300,
            "num_test": 300,
        },
        "model": {"tokenizer": "characters", "config": gpt2(512)},
        "train": {
            "batch_size": 32,
            "num_valid": 100,
            "evaluate_every": 250,
            "optimizer": "muon",  # AdamW, 1e-3 and 2e-3: a third higher a loss after 260 steps
            "learning_rate": 2e-3,
        },
        "removal": {"learning_rate": 5e-4},  # at 2e-3, which does not decay, thoughts fall apart
        "explicit_steps": 4_000,
    },
}

#: The section schedule of each method. None: no explicit model comes before.
METHODS: dict[str, dict[str, Any]] = {
    "no_cot": {"removal": "all"},
    "at_once": {"removal": "all"},
    "linear": {"removal": "linear", "per": "run"},
    "linear_slow": {"removal": "linear", "per": "run"},
    "hold": {"removal": "adaptive", "loss_below": 0.06},
    "adaptive": {"removal": "adaptive"},
    "strict": {"removal": "adaptive", "answer_margin": 0.7},
    "muon": {"removal": "adaptive"},
    "wide": {"removal": "adaptive", "margin": 6.0},
    "auxiliary": {"removal": "all", "auxiliary_loss": 1.0},
}
#: Settings of `train` in which a method differs; the explicit model is the same for all.
TRAIN: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": "muon"},
    "wide": {"optimizer": "muon", "learning_rate": 2e-3},
    "auxiliary": {"optimizer": "muon", "learning_rate": 2e-3},
}
LABELS = {
    "no_cot": "never saw a thought",
    "at_once": "all at once",
    "linear": "linear (the paper)",
    "linear_slow": "linear, half as fast",
    "hold": "adaptive, only holds (`loss_below: 0.06`)",
    "adaptive": "adaptive, jumps and ways back",
    "strict": "the same, `answer_margin: 0.7`",
    "muon": "adaptive, jumps and ways back, `train.optimizer: muon`",
    "wide": "adaptive, Muon, `learning_rate: 2e-3`, `schedule.margin: 6`",
    "auxiliary": "all at once, `schedule.auxiliary_loss: 1`, Muon, `learning_rate: 2e-3`",
}
#: Of each method in the picture: apart for colour-blind people, and by their shape in grey.
_COLOURS = (
    "#5F5F5F", "#6A3D9A", "#D55E00", "#E69F00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7",
    "#000000", "#A6761D",
)  # fmt: skip
_MARKERS = "^DsPovX*ph"
#: Optimizer steps of a method at the most, unless --max_steps says otherwise.
MAX_STEPS = {"3x2": 10_000, "3x3": 24_000, "3x3-deep": 24_000, "4x2": 24_000, "words": 12_000}
#: Of the auxiliary loss, which needs fewer.
AUXILIARY_STEPS = {"3x2": 3_000, "3x3": 6_000, "3x3-deep": 6_000, "4x2": 6_000, "words": 6_000}
#: Of linear removal that gives each token twice the steps, as a multiple.
SLOWER = {"linear_slow": 2}
SEEDS = {"3x2": 5}


@dataclass(frozen=True)
class Cell:
    """One method on one task with one seed.

    Attributes:
        right, asked: of the held-out questions.
        interval: 95 %, Wilson's.
        removed_all: whether the final model writes nothing of its thought.
        steps: until everything was removed and 95 % right in validation; None: never.
        all_steps: of this training altogether.
        seconds: in optimizer steps, on the machine that ran it.
        explicit: share of right answers of the model that it went on from; None without one.
        origin: when it was begun, with which revision, on which processor; None of older cells.
    """

    task: str
    method: str
    seed: int
    right: int
    asked: int
    interval: tuple[float, float]
    removed_all: bool
    steps: int | None
    all_steps: int
    seconds: float
    explicit: float | None
    origin: dict[str, str] | None = None


# --- one cell -----------------------------------------------------------------------------------


def recipe_of(task: str, method: str, seed: int, folder: Path, max_steps: int) -> Any:
    """The recipe of a cell, or with method `explicit` of the model that others go on from."""
    own = ("explicit_steps", "train", "removal")
    values = {k: v for k, v in TASKS[task].items() if k not in own}
    train: dict[str, Any] = {
        "max_steps": max_steps,
        "settle_steps": 1_200,
        "batch_size": 96,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "checkpoint_every": 250,
        "evaluate_every": 100,
        "num_valid": 200,
        "level_every": 0,
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1")),
        **TASKS[task].get("train", {}),
        **TRAIN.get(method, {}),
    }
    if method == "explicit":
        schedule = {"removal": "none"}
        steps = TASKS[task]["explicit_steps"]
        train |= {"max_steps": steps, "settle_steps": None, "lr_schedule": "linear"}
    else:
        schedule = METHODS[method]
    if schedule["removal"] == "all":  # as many as adaptive removal may need, and it decays
        steps = min(max_steps, AUXILIARY_STEPS[task]) if method == "auxiliary" else max_steps // 2
        train |= {"max_steps": steps, "settle_steps": None, "lr_schedule": "linear"}
    elif method != "explicit":
        train |= TASKS[task].get("removal", {})
    if method not in ("explicit", "no_cot"):
        model = folder.parent / "explicit" / "internalized" / "model"
        values["model"] = {"name": str(model)}
    return recipe_from(
        {
            **values,
            "name": f"{task}-{method}-{seed}",
            "seed": seed,
            "output": str(folder),
            "schedule": schedule,
            "train": train,
            "evaluate": {"batch_size": 250, "num_latency": 0},
        }
    )


def run_cell(task: str, method: str, seed: int, root: Path, max_steps: int) -> None:
    """Trains and measures a cell, or what is left of it."""
    folder = root / f"{task}-{seed}" / method
    run_recipe(recipe_of(task, method, seed, folder, max_steps), progress=False)


def read_cell(task: str, method: str, seed: int, root: Path) -> Cell | None:
    """What a cell amounts to; None where it is not done."""
    folder = root / f"{task}-{seed}" / method
    model = _model_in(folder)
    if model is None or model.measured is None or model.trained is None:
        return None
    figures, trained = model.measured, model.trained
    explicit = None if method == "no_cot" else _model_in(folder.parent / "explicit")
    longest = trained.longest_thought or 0
    good = [
        point.step
        for point in model.valid
        if point.removed >= longest and (point.accuracy or 0.0) >= TARGET
    ]
    asked = figures.num_graded or figures.num_questions
    return Cell(
        task=task,
        method=method,
        seed=seed,
        right=round((figures.accuracy or 0.0) * asked),
        asked=asked,
        interval=figures.interval or (0.0, 1.0),
        removed_all=trained.level == "all",
        steps=min(good, default=None),
        all_steps=trained.state.step or 0,
        seconds=round(trained.state.seconds or 0.0, 1),
        explicit=explicit.measured.accuracy if explicit and explicit.measured else None,
        origin=_origin_of(folder),
    )


def _origin_of(folder: Path) -> dict[str, str]:
    """Of the run in a folder, as it noted it."""
    found = json.loads((folder / "environment.json").read_text("utf-8"))
    machine = found["machine"]["processor"]
    return {"began": found["started"], "revision": found["git_revision"], "processor": machine}


def _model_in(folder: Path) -> Any:
    """The model that a run folder is about; None where there is none."""
    if not (folder / "recipe.yaml").exists():
        return None
    return read_run(folder).phases[0].variants["internalized"]


# --- what comes out -----------------------------------------------------------------------------


def table_of(cells: list[Cell]) -> str:
    """The cells as a table in Markdown, one row a task and method."""
    lines = [
        "| task | method | seeds | accuracy of each, nothing written | "
        f"steps to {TARGET:.0%}, median | steps in all, median |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for method in METHODS:
            mine = sorted(
                (c for c in cells if (c.task, c.method) == (task, method)), key=lambda c: c.seed
            )
            if not mine:
                continue
            seeds = ", ".join(str(cell.seed) for cell in mine)
            each = ", ".join(_accuracy_of(cell) for cell in mine)
            reached = [cell.steps for cell in mine]
            steps = "-" if None in reached else f"{statistics.median(_numbers(reached)):,.0f}"
            if None in reached and len(reached) > reached.count(None):
                steps = f"{len(_numbers(reached))} of {len(reached)} seeds"
            spent = f"{statistics.median(cell.all_steps for cell in mine):,.0f}"
            lines.append(f"| {task} | {LABELS[method]} | {seeds} | {each} | {steps} | {spent} |")
    return "\n".join(lines)


def _accuracy_of(cell: Cell) -> str:
    low, high = (100 * bound for bound in cell.interval)
    left = "" if cell.removed_all else ", not all removed"
    return f"{100 * cell.right / cell.asked:.1f} % ({low:.1f} to {high:.1f}{left})"


def _numbers(values: list[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def write_document(cells: list[Cell], document: Path) -> None:
    """Puts the table between the two marks of the document."""
    begin, end = "<!-- benchmarks/methods.py: begin -->", "<!-- benchmarks/methods.py: end -->"
    text = document.read_text("utf-8")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    document.write_text(f"{head}{begin}\n{table_of(cells)}\n{end}{tail}", "utf-8")


def draw(cells: list[Cell], path: Path) -> None:
    """Accuracy with nothing written over steps, one mark a seed, one panel a task."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "unspoken"  # the same file for the same cells
    from matplotlib import pyplot

    tasks = [task for task in TASKS if any(cell.task == task for cell in cells)]
    looks = dict(zip(METHODS, zip(_COLOURS, _MARKERS, strict=True), strict=True))
    methods = [method for method in METHODS if any(cell.method == method for cell in cells)]
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 2.6 * rows + 1.2), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    axes = list(grid.flat)
    for left_over in axes[len(tasks) :]:
        left_over.remove()
    for axis, task in zip(axes, tasks, strict=False):
        for method in methods:
            mine = [cell for cell in cells if (cell.task, cell.method) == (task, method)]
            # a model that still writes does not answer at once
            heights = [100 * c.right / c.asked if c.removed_all else 0.0 for c in mine]
            colour, marker = looks[method]
            axis.plot(
                [cell.all_steps for cell in mine], heights, marker, color=colour, markersize=7,
                alpha=0.8, label=LABELS[method].replace("`", ""),
            )  # fmt: skip
        axis.axhline(100 * TARGET, color="0.7", linewidth=1, linestyle=":")
        axis.set(title=task, xlabel="optimizer steps after the explicit model", ylim=(-4, 106))
        axis.set_xlim(left=0, right=1.06 * max(c.all_steps for c in cells if c.task == task))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.xaxis.set_major_locator(pyplot.MaxNLocator(5))
    for first in axes[: len(tasks) : columns]:
        first.set_ylabel("% right, nothing written")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def written_before(output: Path) -> dict[tuple[str, int, str], Cell]:
    """The cells of a JSON file by task, seed and method: their run folders may be elsewhere."""
    if not output.exists():
        return {}
    values = json.loads(output.read_text("utf-8"))["results"]
    cells = [Cell(**{**value, "interval": tuple(value["interval"])}) for value in values]
    return {(cell.task, cell.seed, cell.method): cell for cell in cells}


def write(cells: list[Cell], output: Path, load: tuple[float, ...]) -> None:
    """JSON, and for the results of this repository the table and the picture of the document."""
    write_results(output, [asdict(cell) for cell in cells], load)
    print(table_of(cells))
    if output == RESULTS and cells:
        write_document(cells, DOCUMENT)
        draw(cells, PICTURE)


# --- the command --------------------------------------------------------------------------------


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4 on 3x2, else 0 to 2")
    parser.add_argument("--max_steps", type=int, help="of each method (default: by task)")
    parser.add_argument("--seconds", type=float, help="stop, to be gone on with, after so long")
    parser.add_argument("--folder", type=Path, default=Path("runs/methods"), help="of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON")
    parser.add_argument("--only_write", action="store_true", help="train nothing")
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    """Runs what is asked for, and writes what is there of everything."""
    load = os.getloadavg()
    if options.seconds:  # as if the machine were taken away: everything is saved
        timer = threading.Timer(options.seconds, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True  # what is done before is not waited with
        timer.start()
    seeds_of = {task: options.seeds or list(range(SEEDS.get(task, 3))) for task in TASKS}
    try:
        for task in () if options.only_write else options.tasks:
            for seed in seeds_of[task]:
                for method in ("explicit", *options.methods):
                    steps = options.max_steps or MAX_STEPS[task] * SLOWER.get(method, 1)
                    run_cell(task, method, seed, options.folder, steps)
                    print(f"{task} {method} {seed}: done", flush=True)
    except SystemExit as stopped:
        if stopped.code != EXIT_INTERRUPTED:
            raise
        print("stopped; the same command goes on", flush=True)
    there = options.folder.glob("*-*/*") if options.folder.is_dir() else ()
    named = sorted((*place.parent.name.rsplit("-", 1), place.name) for place in there)
    cells = [
        read_cell(task, method, int(seed), options.folder)
        for task, seed, method in named
        if method in METHODS and task in TASKS
    ]
    here = {(cell.task, cell.seed, cell.method): cell for cell in cells if cell is not None}
    all_cells = {**written_before(options.output), **here}
    write([all_cells[key] for key in sorted(all_cells)], options.output, load)


if __name__ == "__main__":
    main(parse())
