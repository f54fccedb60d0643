"""The command line: verbs, their flags, and errors in one line.

Heavy imports stand inside the verbs, so `tacit --help` answers at once. `--num_train` and
`--num-train` are the same flag.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from tacit import __version__
from tacit.errors import DataError, RecipeError, TacitError
from tacit.generate_command import generate, merge

if TYPE_CHECKING:
    from tacit.recipe import Recipe

#: Exit status for everything that the user can mend.
EXIT_USER_ERROR = 2

app = App(
    name="tacit",
    help="Make small language models reason without writing it down.",
    version=__version__,
    result_action="return_value",
)
data_app = App(name="data", help="Make or convert data sets: JSONL with question, thought, answer.")
app.command(data_app)
app.command(generate)
app.command(merge)

Overrides = Annotated[tuple[str, ...], Parameter(help="section.key=value, such as train.epochs=3")]
Overwrite = Annotated[bool, Parameter(negative="", help="replace what exists")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0, 2 for what the user can mend, 75 when stopped by a signal."""
    tokens = [_same_flag(token) for token in (sys.argv[1:] if arguments is None else arguments)]
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(f"{str(error).strip()} Try: tacit --help")
    except TacitError as error:
        _fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _same_flag(token: str) -> str:
    """`--num_train=3` as `--num-train=3`: both spellings of a flag are one."""
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def _fail(message: str) -> None:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


@app.command
def run(recipe: Path, *overrides: str, overwrite: Overwrite = False) -> None:
    """Run every stage of a recipe: data, training, baselines, evaluation, report.

    What is done is skipped, what is half done goes on where it stopped.

    Parameters
    ----------
    recipe
        YAML file, such as recipes/quickstart.yaml.
    overrides
        section.key=value, such as train.learning_rate=1e-4 output=runs/second.
    """
    from tacit.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    _run_and_report(loaded, overwrite)


@app.command
def check(recipe: Path, *overrides: str) -> None:
    """Say everything about a recipe that can be known before time is spent on it.

    Parameters
    ----------
    recipe
        YAML file.
    overrides
        section.key=value.
    """
    from tacit.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    _quiet()
    from tacit.check import check_recipe

    for line in check_recipe(loaded):
        print(line)


@app.command
def internalize(
    *arguments: str,
    model_name: str | None = None,
    data: Path | None = None,
    valid: Path | None = None,
    test: Path | None = None,
    task: Literal["multiplication", "gsm8k", "jsonl"] | None = None,
    digits: Annotated[list[tuple[int, int]] | None, Parameter(consume_multiple=True)] = None,
    num_train: int | None = None,
    num_valid: int | None = None,
    num_test: int | None = None,
    source: str | None = None,
    template: Literal["plain", "compact", "chat"] | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    micro_batch_size: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: float | None = None,
    precision: Literal["fp32", "bf16", "fp16"] | None = None,
    removal: Literal["none", "all", "linear", "adaptive"] | None = None,
    delta: float | None = None,
    per: Literal["epoch", "run"] | None = None,
    smoothing: float | None = None,
    max_length: int | None = None,
    baselines: Annotated[bool | None, Parameter(negative="")] = None,
    seed: int | None = None,
    output: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Remove a model's chain of thought while it trains: flags instead of, or over, a recipe.

    `tacit internalize --epochs 10 --batch_size 32 --learning_rate 5e-5 --model_name gpt2-medium
    --task gsm8k` trains GPT-2 medium on GSM8K as the paper does. Everything that has no flag is set
    with section.key=value, as for `tacit run`.

    Parameters
    ----------
    arguments
        A recipe to start from, if any, and section.key=value for everything without a flag.
    model_name
        Hub name or folder (default gpt2-medium).
    data
        Training JSONL with question, thought and answer, the paper's .txt, or raw GSM8K.
    valid
        Validation JSONL; the best model is chosen with it (default: a tenth of the data, 1,000
        examples at the most).
    test
        Test JSONL, read once, at the end.
    task
        Make the data: multiplication, or gsm8k from the hub or from --source.
    digits
        Digits of both factors, such as --digits 4 4 5 5.
    source
        Folder with GSM8K's raw train.jsonl and test.jsonl.
    removal
        When thought tokens go (default linear).
    delta
        Tokens removed per epoch, or over the run with --per run.
    smoothing
        Lambda of the random offset.
    baselines
        Also train the explicit-CoT and the no-CoT model, for as many steps.
    output
        Run folder (default runs/internalize).
    """
    from tacit.recipe import load_values, recipe_from

    flags = {
        "seed": seed,
        "output": None if output is None else str(output),
        "template": template,
        "baselines": baselines,
        "model.name": model_name,
        "data.task": task,
        "data.digits": digits,
        "data.num_train": num_train,
        "data.num_valid": num_valid,
        "data.num_test": num_test,
        "data.source": source,
        "data.max_length": max_length,
        "train.epochs": epochs,
        "train.max_steps": max_steps,
        "train.batch_size": batch_size,
        "train.micro_batch_size": micro_batch_size,
        "train.learning_rate": learning_rate,
        "train.warmup_steps": warmup_steps,
        "train.precision": precision,
        "schedule.removal": removal,
        "schedule.delta": delta,
        "schedule.per": per,
        "schedule.smoothing": smoothing,
        **_data_flags(data, valid, test),
    }
    recipes = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    if len(recipes) > 1:
        raise RecipeError(
            f"internalize: found {len(recipes)} recipes ({', '.join(recipes)}); give one"
        )
    recipe = recipes[0] if recipes else None
    values, nodes = load_values(recipe) if recipe else (_internalize_defaults(flags), None)
    given = [f"{key}={_yaml(value)}" for key, value in flags.items() if value is not None]
    loaded = recipe_from(
        values, [*given, *overrides], where=str(recipe or "command line"), nodes=nodes
    )
    _run_and_report(loaded, overwrite)


def _run_and_report(loaded: Recipe, overwrite: bool) -> None:
    _quiet()
    from tacit.environment import command_line
    from tacit.pipeline import run_recipe
    from tacit.report import print_summary

    page = run_recipe(loaded, command=command_line(), overwrite=overwrite)
    if _is_main_process():
        print_summary(page.parent)


def _internalize_defaults(flags: dict[str, Any]) -> dict[str, Any]:
    """The first seed's defaults, where there is no recipe."""
    values: dict[str, Any] = {
        "name": "internalize",
        "model": {"name": "gpt2-medium"},
        "train": {"batch_size": 32, "learning_rate": 5e-5},
        "data": {},
    }
    if flags["train.epochs"] is None and flags["train.max_steps"] is None:
        values["train"]["epochs"] = 10
    if flags["data.task"] == "gsm8k":  # the paper's settings, appendix A
        values["data"] = {"max_length": 150}
        values["schedule"] = {"delta": 1, "remove_all_beyond": 39}
    if flags["data.task"] is None and flags.get("data.train") is None:
        raise RecipeError(
            "internalize: no data; give --data FILE.jsonl (question, thought, answer), or "
            "--task multiplication --digits 4 4, or --task gsm8k [--source FOLDER]"
        )
    return values


def _data_flags(data: Path | None, valid: Path | None, test: Path | None) -> dict[str, Any]:
    files = {"data.train": data, "data.valid": valid, "data.test": test}
    return {key: None if path is None else str(path) for key, path in files.items()}


def _yaml(value: Any) -> str:
    return json.dumps(value)


@app.command
def evaluate(
    *,
    model: Annotated[str, Parameter(name=["--model", "--base-model"])],
    input: Path,
    output: Path,
    template: Literal["plain", "compact", "chat"] | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    num_latency: int = 50,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    trust_remote_code: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Ask a model questions and measure its answers.

    Parameters
    ----------
    model
        Folder or hub name.
    input
        JSONL with question and answer.
    output
        Predictions: JSONL with question, generated, pred, gold, correct and token counts.
    template
        How questions are put (default: what the model's tacit.json says, else plain).
    max_new_tokens
        Limit per answer (default: what tacit.json says, else 256).
    limit
        Only the first questions.
    num_latency
        Questions timed one at a time; 0 for none.
    dtype
        Of the weights.
    trust_remote_code
        Run Python code that came with the model.
    """
    from tacit.atomic import refuse_existing
    from tacit.example import read_questions

    refuse_existing([output], overwrite=overwrite)
    examples = read_questions(input, limit=limit)
    _quiet()
    from tacit.evaluate import evaluate_folder
    from tacit.recipe import Model
    from tacit.report import print_metrics

    metrics = evaluate_folder(
        Model(name=model, trust_remote_code=trust_remote_code),
        examples,
        output,
        template=template,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        num_latency=num_latency,
        dtype=dtype,
        overwrite=overwrite,
        progress="evaluate",
    )
    print_metrics(metrics)
    print(f"predictions: {output}")


@app.command
def score(*, input: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Judge existing answers without a model.

    Parameters
    ----------
    input
        JSONL with generated and gold.
    output
        The same records with pred and correct.
    """
    from tacit.report import print_metrics
    from tacit.score import score_file

    print_metrics(score_file(input, output, overwrite))
    print(f"scored: {output}")


@app.command
def report(folder: Path) -> None:
    """Write report.html, report.json and plots for a run folder again.

    Parameters
    ----------
    folder
        A folder that `tacit run` made.
    """
    from tacit.report import print_summary, write_report

    if not (folder / "recipe.yaml").is_file():
        raise DataError(
            f"{folder}: no recipe.yaml in it; give a run folder, such as runs/quickstart"
        )
    write_report(folder)
    print_summary(folder)


@data_app.command
def multiplication(
    *,
    digits: Annotated[list[tuple[int, int]], Parameter(consume_multiple=True)],
    output: Path,
    num_train: int = 808_000,
    num_valid: int = 1_000,
    num_test: int = 1_000,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Multiplications with worked solutions, in the paper's form.

    Parameters
    ----------
    digits
        Digits of both factors, such as 4 4; several pairs mix, such as 2 2 3 2 4 4.
    output
        Folder for train.jsonl, valid.jsonl, test.jsonl and dataset.json.
    num_train
        Training examples; no question stands in two splits.
    seed
        Same seed, same files.
    """
    from tacit.tasks.multiplication import write_multiplication

    _print_counts(
        write_multiplication(
            output, digits, num_train, num_valid, num_test, seed=seed, overwrite=overwrite
        ),
        output,
    )


@data_app.command
def arithmetic(
    *,
    output: Path,
    num_train: int = 377,
    num_test: int = 95,
    num_valid: int = 0,
    difficulty: Literal["easy", "medium", "hard"] = "medium",
    categories: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    with_thoughts: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Questions in six categories, from arithmetic to ratios, for a teacher to answer.

    Parameters
    ----------
    output
        Folder for raw_questions.jsonl, test_questions.jsonl and dataset.json.
    num_train
        Questions in raw_questions.jsonl; none stands in both files.
    difficulty
        Size of the numbers and number of steps.
    categories
        Only these: arithmetic, percentages, algebra, word_problems, fractions, ratios.
    with_thoughts
        Write train.jsonl, valid.jsonl and test.jsonl with worked solutions instead.
    seed
        Same seed, same files.
    """
    from tacit.tasks.arithmetic import write_arithmetic

    description = write_arithmetic(
        output,
        num_train=num_train,
        num_test=num_test,
        num_valid=num_valid,
        difficulty=difficulty,
        categories=categories,
        seed=seed,
        with_thoughts=with_thoughts,
        overwrite=overwrite,
    )
    for name in description["sha256"]:
        print(output / name)


@data_app.command
def gsm8k(
    *,
    output: Path,
    source: Annotated[str | None, Parameter(name=["--source", "--input"])] = None,
    thought: Literal["equations", "sentences"] = "equations",
    num_valid: int = 500,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """GSM8K as question, thought and answer.

    Parameters
    ----------
    output
        Folder for train.jsonl, valid.jsonl, test.jsonl and dataset.json.
    source
        Folder with the raw train.jsonl and test.jsonl (default: the hub).
    thought
        equations, as the paper has them, or sentences.
    num_valid
        Validation examples, taken out of the training split.
    """
    from tacit.tasks.gsm8k import write_gsm8k

    _print_counts(
        write_gsm8k(output, source, thought, num_valid=num_valid, seed=seed, overwrite=overwrite),
        output,
    )


@data_app.command
def icot(*, input: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Convert the paper's `question||thought #### answer` files to JSONL, or back.

    Parameters
    ----------
    input
        A .txt file in the paper's form, or JSONL.
    output
        Its suffix gives the direction: .jsonl or .txt.
    """
    from tacit.tasks.icot import convert

    count = convert(input, output, overwrite=overwrite)
    print(f"{output}: {count:,} examples")


def _print_counts(description: dict[str, Any], output: Path) -> None:
    for name, count in description["counts"].items():
        print(f"{output / name}.jsonl: {count:,} examples")


def _is_main_process() -> bool:
    """Whether this is the one of several processes that talks; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"


def _quiet() -> None:
    """Libraries talk when something is wrong, not about every file they load."""
    import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


if __name__ == "__main__":
    main()
