"""All verbs: where they stand, and what each does in one line.

A verb's module is imported when it is called, so `unspoken --help` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cyclopts import App, Group, Parameter

from unspoken.common.version import __version__


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        place: module in this package and function.
        panel: in the help.
        text: what it does, the first line of the function's docstring.
        aliases: further names.
    """

    place: str
    panel: Group
    text: str
    aliases: tuple[str, ...] = ()


_BEGIN = Group("Recipes: an experiment, whole", sort_key=1)
_ASK = Group("Data and teacher", sort_key=2)
_TRAIN = Group("Training", sort_key=3)
_MEASURE = Group("Measuring", sort_key=4)
_USE = Group("Elsewhere", sort_key=5)

VERBS = {
    "run": Verb("run:run", _BEGIN, "Run every stage of a recipe, or go on with it."),
    "check": Verb("check:check", _BEGIN, "Say what a recipe will do and what it needs."),
    "recipes": Verb("recipes:recipes", _BEGIN, "List the recipes that come with unspoken."),
    "data multiplication": Verb("data:multiplication", _ASK, "Multiplications, worked out."),
    "data arithmetic": Verb("data:arithmetic", _ASK, "Questions of six categories."),
    "data gsm8k": Verb("data:gsm8k", _ASK, "GSM8K as question, thought and answer."),
    "data questions": Verb("data:questions", _ASK, "Questions of a data set or table."),
    "data icot": Verb("data:icot", _ASK, "Convert the paper's .txt files to JSONL, or back."),
    "generate": Verb("generate:generate", _ASK, "Have a teacher write chains of thought."),
    "merge": Verb("merge:merge", _ASK, "Join the traces of several shards."),
    "vet": Verb("vet:vet", _ASK, "Keep the traces that a student may learn from."),
    "distil": Verb(
        "distil:distil", _TRAIN, "Train a student on a teacher's traces.", aliases=("distill",)
    ),
    "internalize": Verb(
        "internalize:internalize", _TRAIN, "Remove a model's chain of thought while it trains."
    ),
    "evaluate": Verb("evaluate:evaluate", _MEASURE, "Ask a model and measure its answers."),
    "score": Verb("score:score", _MEASURE, "Judge existing answers without a model."),
    "compare": Verb("compare:compare", _MEASURE, "Compare answers to the same questions."),
    "report": Verb("report:report", _MEASURE, "Write the report of a run again."),
    "export": Verb("export:export", _USE, "Write a model folder that other software serves."),
    "download": Verb("download:download", _USE, "Fetch models from the hub."),
    "launch slurm": Verb("launch_slurm:slurm", _USE, "Run a recipe on a SLURM cluster."),
    "launch sagemaker": Verb("launch_sagemaker:sagemaker", _USE, "Run a recipe on SageMaker."),
    "shard": Verb("shard:shard", _USE, "Write a teacher's traces in shares, in jobs of an array."),
}
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


def verb_of(words: Sequence[str]) -> str | None:
    """The verb that a command line calls; None where it calls none."""
    named = {alias: name for name, verb in VERBS.items() for alias in verb.aliases}
    first = words[0] if words else ""
    name = " ".join(words[:2]) if first in PARENTS else named.get(first, first)
    return name if name in VERBS else None
