"""The list of all verbs: which function each calls, its line in the help and an example.

A verb's module is imported when it is called, so `unspoken --help` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cyclopts import App, Group, Parameter

from unspoken.common.nearby import nearest_name
from unspoken.common.version import __version__


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        place: module in this package and function.
        panel: in the help.
        text: what it does, the first line of the function's docstring.
        example: a command that can be typed.
        aliases: further names.
    """

    place: str
    panel: Group
    text: str
    example: str
    aliases: tuple[str, ...] = ()


_BEGIN = Group("Recipes: an experiment, whole", sort_key=1)
_ASK = Group("Data and teacher", sort_key=2)
_TRAIN = Group("Training", sort_key=3)
_MEASURE = Group("Measuring", sort_key=4)
_USE = Group("Elsewhere", sort_key=5)

VERBS = {
    "run": Verb(
        "run:run",
        _BEGIN,
        "Run every stage of a recipe, or go on with it.",
        "unspoken run quickstart train.max_steps=200 output=runs/short",
    ),
    "check": Verb(
        "check:check",
        _BEGIN,
        "Say what a recipe will do and what it needs.",
        "unspoken check distill-qwen train.batch_size=16",
    ),
    "recipes": Verb(
        "recipes:recipes",
        _BEGIN,
        "List the recipes that come with unspoken.",
        "unspoken recipes quickstart",
    ),
    "data multiplication": Verb(
        "data:multiplication",
        _ASK,
        "Multiplications, worked out.",
        "unspoken data multiplication --digits 4 4 --num_train 80800 --output data/4x4",
    ),
    "data arithmetic": Verb(
        "data:arithmetic",
        _ASK,
        "Questions of six categories.",
        "unspoken data arithmetic --output data",
    ),
    "data gsm8k": Verb(
        "data:gsm8k",
        _ASK,
        "GSM8K as question, thought and answer.",
        "unspoken data gsm8k --source FOLDER --output data/gsm8k",
    ),
    "data questions": Verb(
        "data:questions",
        _ASK,
        "Questions of a data set or table.",
        "unspoken data questions --input openai/gsm8k --subset main --output data/questions.jsonl",
    ),
    "data split": Verb(
        "data:split",
        _ASK,
        "Divide questions of your own.",
        "unspoken data split --input tickets.csv --output data/tickets --test 0.2 --by category",
    ),
    "data icot": Verb(
        "data:icot",
        _ASK,
        "Convert the paper's .txt files to JSONL, or back.",
        "unspoken data icot --input train.txt --output train.jsonl",
    ),
    "generate": Verb(
        "generate:generate",
        _ASK,
        "Have a teacher write chains of thought.",
        "unspoken generate --teacher_dir models/teacher --input data/raw_questions.jsonl "
        "--output data/cot_dataset.jsonl --max_new_tokens 512",
    ),
    "merge": Verb(
        "merge:merge",
        _ASK,
        "Join the traces of several shards.",
        "unspoken merge data/cot_dataset-*.jsonl --output data/cot_dataset.jsonl",
    ),
    "vet": Verb(
        "vet:vet",
        _ASK,
        "Keep the traces that a student may learn from.",
        "unspoken vet --input data/cot_dataset.jsonl --test data/test_questions.jsonl "
        "--output data/dataset.jsonl",
    ),
    "distil": Verb(
        "distil:distil",
        _TRAIN,
        "Train a student on a teacher's traces.",
        "unspoken distil --student_dir models/student --data data/dataset.jsonl "
        "--out_dir results/student_cot_lora --epochs 3 --lr 2e-4",
        aliases=("distill",),
    ),
    "internalize": Verb(
        "internalize:internalize",
        _TRAIN,
        "Remove a model's chain of thought while it trains.",
        "unspoken internalize --epochs 10 --batch_size 32 --learning_rate 5e-5 "
        "--model_name gpt2-medium",
    ),
    "evaluate": Verb(
        "evaluate:evaluate",
        _MEASURE,
        "Ask a model and measure its answers.",
        "unspoken evaluate --base_model models/student --lora_model results/student_cot_lora "
        "--input data/test_questions.jsonl --output results/predictions.jsonl",
    ),
    "score": Verb(
        "score:score",
        _MEASURE,
        "Judge existing answers without a model.",
        "unspoken score --input answers.jsonl --output judged.jsonl",
    ),
    "compare": Verb(
        "compare:compare",
        _MEASURE,
        "Compare answers to the same questions.",
        "unspoken compare results/before.jsonl results/after.jsonl",
    ),
    "choose": Verb(
        "choose:choose",
        _MEASURE,
        "Choose a model of a run by what it may cost.",
        "unspoken choose runs/quickstart --within 2",
    ),
    "diagnose": Verb(
        "diagnose:diagnose",
        _MEASURE,
        "Look into the models of a run, with pictures in its report.",
        "unspoken diagnose runs/quickstart",
    ),
    "report": Verb(
        "report:report",
        _MEASURE,
        "Write the report of a run again.",
        "unspoken report runs/quickstart",
    ),
    "ask": Verb(
        "ask:ask",
        _USE,
        "Ask a model a question, or several at a prompt.",
        "unspoken ask runs/quickstart 123*45",
    ),
    "demo": Verb(
        "demo:demo",
        _USE,
        "Open a page to try a run's models on.",
        "unspoken demo runs/quickstart",
    ),
    "export": Verb(
        "export:export",
        _USE,
        "Write a model folder that other software serves.",
        "unspoken export runs/quickstart --level 0007 --output served",
    ),
    "download": Verb(
        "download:download",
        _USE,
        "Fetch models from the hub.",
        "unspoken download --teacher Qwen/Qwen2.5-14B-Instruct --student Qwen/Qwen2.5-7B "
        "--out_dir models",
    ),
    "launch slurm": Verb(
        "launch_slurm:slurm",
        _USE,
        "Run a recipe on a SLURM cluster.",
        "unspoken launch slurm distill-qwen --time 08:00:00 --gpus_per_node 4 --cpus_per_task 32",
    ),
    "launch sagemaker": Verb(
        "launch_sagemaker:sagemaker",
        _USE,
        "Run a recipe on SageMaker.",
        "unspoken launch sagemaker distill-qwen --role arn:aws:iam::111122223333:role/unspoken "
        "--bucket my-bucket --instance_type ml.g5.12xlarge --dry_run",
    ),
    "shard": Verb(
        "shard:shard",
        _USE,
        "Write a teacher's traces in shares, in jobs of an array.",
        "unspoken shard distill-qwen --shard 3/16",
    ),
}
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
            module, _, function = verb.place.partition(":")
            app.default(getattr(importlib.import_module(f"unspoken.cli.{module}"), function))
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


def verb_of(words: Sequence[str]) -> str | None:
    """The verb that a command line calls; None where it calls none."""
    named = {alias: name for name, verb in VERBS.items() for alias in verb.aliases}
    first = words[0] if words else ""
    name = " ".join(words[:2]) if first in PARENTS else named.get(first, first)
    return name if name in VERBS else None
