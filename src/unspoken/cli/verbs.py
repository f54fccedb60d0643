"""The list of all verbs: which function each calls, its line in the help and an example.

A verb's module is imported when it is called, so `unspoken --help` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cyclopts import App, Group, Parameter

from unspoken.common.nearby import nearest_name
from unspoken.common.version import __version__


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        name: as it is typed, such as `data split`.
        panel: in the help.
        text: what it does, the first line of the function's docstring.
        arguments: of an example.
        aliases: further names.
    """

    name: str
    panel: Group
    text: str
    arguments: str
    aliases: tuple[str, ...] = ()

    @property
    def example(self) -> str:
        """A command that can be typed."""
        return f"unspoken {self.name} {self.arguments}"

    def load(self) -> Callable[..., None]:
        """The function that it calls, of a module of its own; those of `data` share one."""
        group, _, function = self.name.rpartition(" ")
        module = "data" if group == "data" else self.name.replace(" ", "_")
        return getattr(importlib.import_module(f"unspoken.cli.{module}"), function)


_BEGIN = Group("Recipes: an experiment, whole", sort_key=1)
_ASK = Group("Data and teacher", sort_key=2)
_TRAIN = Group("Training", sort_key=3)
_MEASURE = Group("Measuring", sort_key=4)
_USE = Group("Elsewhere", sort_key=5)

_ALL = (
    Verb(
        "run",
        _BEGIN,
        "Run every stage of a recipe, or go on with it.",
        "quickstart train.max_steps=200 output=runs/short",
    ),
    Verb(
        "check",
        _BEGIN,
        "Say what a recipe will do and what it needs.",
        "distill-qwen train.batch_size=16",
    ),
    Verb("recipes", _BEGIN, "List the recipes that come with unspoken.", "quickstart"),
    Verb(
        "data multiplication",
        _ASK,
        "Multiplications, worked out.",
        "--digits 4 4 --num_train 80800 --output data/4x4",
    ),
    Verb("data arithmetic", _ASK, "Questions of six categories.", "--output data"),
    Verb(
        "data gsm8k",
        _ASK,
        "GSM8K as question, thought and answer.",
        "--source FOLDER --output data/gsm8k",
    ),
    Verb(
        "data questions",
        _ASK,
        "Questions of a data set or table.",
        "--input openai/gsm8k --subset main --output data/questions.jsonl",
    ),
    Verb(
        "data split",
        _ASK,
        "Divide questions of your own.",
        "--input tickets.csv --output data/tickets --test 0.2 --by category",
    ),
    Verb(
        "data icot",
        _ASK,
        "Convert the paper's .txt files to JSONL, or back.",
        "--input train.txt --output train.jsonl",
    ),
    Verb(
        "generate",
        _ASK,
        "Have a teacher write chains of thought.",
        "--teacher_dir models/teacher --input data/raw_questions.jsonl "
        "--output data/cot_dataset.jsonl --max_new_tokens 512",
    ),
    Verb(
        "merge",
        _ASK,
        "Join the traces of several shards.",
        "data/cot_dataset-*.jsonl --output data/cot_dataset.jsonl",
    ),
    Verb(
        "vet",
        _ASK,
        "Keep the traces that a student may learn from.",
        "--input data/cot_dataset.jsonl --test data/test_questions.jsonl "
        "--output data/dataset.jsonl",
    ),
    Verb(
        "distil",
        _TRAIN,
        "Train a student on a teacher's traces.",
        "--student_dir models/student --data data/dataset.jsonl "
        "--out_dir results/student_cot_lora --epochs 3 --lr 2e-4",
        aliases=("distill",),
    ),
    Verb(
        "internalize",
        _TRAIN,
        "Remove a model's chain of thought while it trains.",
        "--epochs 10 --batch_size 32 --learning_rate 5e-5 --model_name gpt2-medium",
    ),
    Verb(
        "evaluate",
        _MEASURE,
        "Ask a model and measure its answers.",
        "--base_model models/student --lora_model results/student_cot_lora "
        "--input data/test_questions.jsonl --output results/predictions.jsonl",
    ),
    Verb(
        "score",
        _MEASURE,
        "Judge existing answers without a model.",
        "--input answers.jsonl --output judged.jsonl",
    ),
    Verb(
        "compare",
        _MEASURE,
        "Compare answers to the same questions.",
        "results/before.jsonl results/after.jsonl",
    ),
    Verb(
        "choose",
        _MEASURE,
        "Choose a model of a run by what it may cost.",
        "runs/quickstart --within 2",
    ),
    Verb(
        "diagnose",
        _MEASURE,
        "Look into the models of a run, with pictures in its report.",
        "runs/quickstart",
    ),
    Verb("report", _MEASURE, "Write the report of a run again.", "runs/quickstart"),
    Verb("ask", _USE, "Ask a model a question, or several at a prompt.", "runs/quickstart 123*45"),
    Verb("demo", _USE, "Open a page to try a run's models on.", "runs/quickstart"),
    Verb(
        "export",
        _USE,
        "Write a model folder that other software serves.",
        "runs/quickstart --level 0007 --output served",
    ),
    Verb(
        "download",
        _USE,
        "Fetch models from the hub.",
        "--teacher Qwen/Qwen2.5-14B-Instruct --student Qwen/Qwen2.5-7B --out_dir models",
    ),
    Verb(
        "launch slurm",
        _USE,
        "Run a recipe on a SLURM cluster.",
        "distill-qwen --time 08:00:00 --gpus_per_node 4 --cpus_per_task 32",
    ),
    Verb(
        "launch sagemaker",
        _USE,
        "Run a recipe on SageMaker.",
        "distill-qwen --role arn:aws:iam::111122223333:role/unspoken --bucket my-bucket "
        "--instance_type ml.g5.12xlarge --dry_run",
    ),
    Verb(
        "shard",
        _USE,
        "Write a teacher's traces in shares, in jobs of an array.",
        "distill-qwen --shard 3/16",
    ),
)
VERBS = {verb.name: verb for verb in _ALL}
#: What other programs and scripts for the same work are called, and the verbs that do it here.
_ELSEWHERE = {
    "train": ("distil", "internalize"),
    "finetune": ("distil", "internalize"),
    "gen_cot": ("generate",),
    "train_cot_lora": ("distil",),
    "eval_cot": ("evaluate",),
    "eval": ("evaluate",),
    "download_models": ("download",),
    "generate_dataset": ("data arithmetic",),
    "cot_training_script": ("internalize",),
    "run_pipeline": ("run",),
    "setup_sagemaker_training": ("launch sagemaker",),
    "chat": ("ask",),
    "serve": ("export",),
    "predict": ("evaluate",),
    "resume": ("run",),
}
#: What can be typed in place of a verb.
_FLAGS_OF_ALL = ("--help", "--version")
#: Names of flags: --num_train; --num-train is made the same before it is read.
_AS_THEY_ARE = Parameter(name_transform=lambda name: name, negative=())
PARENTS = {
    "data": (_ASK, "Make or convert data sets: JSONL with question, thought, answer."),
    "launch": (_USE, "Run a recipe elsewhere: on a SLURM cluster or on SageMaker."),
}


def application(verbs: Iterable[str] = VERBS) -> App:
    """The command line with these verbs ready to be called, and the others for the help alone."""
    root = App(
        name="unspoken",
        help="Make small language models reason without writing it down.",
        help_epilogue="Begin: unspoken run quickstart. A verb's flags: unspoken VERB --help.",
        version=__version__,
        result_action="return_value",
        default_parameter=_AS_THEY_ARE,
    )
    ready = set(verbs)
    for number, (name, verb) in enumerate(VERBS.items()):
        *parent, last = name.split()
        group = None if parent else verb.panel
        text = None if name in ready else verb.text
        app = App(
            name=[last, *verb.aliases],
            help=text,
            help_epilogue=f"Example: {verb.example}",
            group=group,
            sort_key=number,
            default_parameter=_AS_THEY_ARE,
        )
        if name in ready:
            app.default(verb.load())
        if parent and parent[0] not in root:
            panel, text = PARENTS[parent[0]]
            root.command(App(name=parent[0], help=text, group=panel, sort_key=number))
        (root[parent[0]] if parent else root).command(app)
    return root


def find_verb(app: App, name: str) -> App:
    """A verb of the application, such as `launch slurm`."""
    for part in name.split():
        app = app[part]
    return app


def suggest_verb(words: Sequence[str]) -> str:
    """What to type in place of words that call no verb: one that is spelled nearly so, or all."""
    if other := _suggest_in_place_of_verb(words[0]):
        return other
    group = words[0] if words[0] in PARENTS else None
    typed = words[1] if group is not None else words[0]
    inside = {name.split()[-1]: name for name in VERBS if name.split()[0] in (group or PARENTS)}
    aliases = {alias: name for name, verb in VERBS.items() for alias in verb.aliases}
    here = inside if group else {name: name for name in [*VERBS, *PARENTS]} | aliases
    for known, cutoff in ((here, 0.6), (inside, 0.8)):  # slurm is within launch
        near = nearest_name(typed, known, cutoff)
        if near is not None:
            return f"did you mean unspoken {known[near]}?"
    if group is None and _is_recipe(typed):
        return f"did you mean unspoken run {typed}?"
    return f"there are {', '.join(inside if group else VERBS)}."


def _suggest_in_place_of_verb(word: str) -> str:
    """What to type for a flag where a verb should be, or another program's name; else empty."""
    if word.startswith("-"):
        near = nearest_name(word, _FLAGS_OF_ALL)
        return f"did you mean unspoken {near}?" if near else "a verb stands first."
    script = word.rsplit("/", 1)[-1].removesuffix(".py").removesuffix(".sh")
    meant = " or ".join(f"unspoken {name}" for name in _ELSEWHERE.get(script, ()))
    return f"did you mean {meant}?" if meant else ""


def _is_recipe(name: str) -> bool:
    from unspoken.recipe.shipped import shipped_recipes  # pydantic takes its time

    return name in shipped_recipes() or name.endswith((".yaml", ".yml"))


def calls_no_verb(words: Sequence[str]) -> bool:
    """Whether words stand where a verb should and are none, also not in other letters.

    Without any, or with a flag such as --help in its place, there is no such word.
    """
    num_words = 2 if words and words[0] in PARENTS else 1
    named = words[:num_words]
    has_word = len(named) == num_words and not any(each.startswith("-") for each in named)
    return has_word and verb_of(words) is None


def verb_of(words: Sequence[str]) -> str | None:
    """The verb that a command line calls; None where it calls none."""
    named = {alias: name for name, verb in VERBS.items() for alias in verb.aliases}
    first = words[0] if words else ""
    name = " ".join(words[:2]) if first in PARENTS else named.get(first, first)
    return name if name in VERBS else None
