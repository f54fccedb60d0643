"""The groups of flags that verbs take, and the panels of their help."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import Group, Parameter

from unspoken.cli.flags import Options, flag
from unspoken.common.errors import SettingError, setting
from unspoken.data.jsonl import read_lines
from unspoken.recipe.choices import make_labels
from unspoken.recipe.sections import DtypeName, read_sizes
from unspoken.recipe.teacher import MAX_NEW_TOKENS

_DATA = Group("Data", sort_key=1)
_MODEL = Group("Model", sort_key=2)
_LORA = Group("LoRA", sort_key=3)
_TRAINING = Group("Training", sort_key=4)
_REMOVAL = Group("Removal of the thought", sort_key=5)
_OUTPUT = Group("Output", sort_key=9)
_ENGINE = Group("Engine", sort_key=1)
_SAMPLING = Group("Sampling", sort_key=2)
_PORTION = Group("Which questions", sort_key=3)
_VETTING = Group("What is kept", sort_key=1)
_MEASURING = Group("Measuring", sort_key=3)

Overwrite = Annotated[
    bool, Parameter(help="replace what exists", group=_OUTPUT, show_default=False)
]
Replace = Annotated[
    bool,
    Parameter(
        help="replace what runs again because settings changed, instead of keeping it in old/",
        group=_OUTPUT,
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path | None,
    Parameter(
        help="go on from this checkpoint and not from the newest, such as OUT_DIR/checkpoint-500",
        group=_OUTPUT,
    ),
]
Flag = Annotated[bool, Parameter(show_default=False)]


def read_choices(text: str) -> tuple[str, ...]:
    """Classes as they are typed, or those of the file that is named, one a line.

    Raises:
        DataError: the file cannot be read.
        SettingError: they are no classes.
    """
    path = Path(text)
    if "," in text or not path.is_file():
        return make_labels(text)
    return make_labels([line.strip() for _, line in read_lines(path, needed="one class a line")])


#: The only answers that there are, on the command line: names with commas between them, or a file.
CHOICES = {
    "kind": str,
    "read": read_choices,
    "help": "the only answers that there are, such as billing,login,other, or a file with one a "
    "line: prompts name them, an answer counts as the one that it names, and each is measured",
}


class DataFlags(Options, panel=_DATA):
    """What is learned from: files, or a task that unspoken makes or converts itself."""

    data = flag("data.train")
    valid = flag("data.valid")
    test = flag("data.test")
    task = flag("data.task")
    digits = flag("data.digits", kind=list[str], read=read_sizes, default="4x4")
    num_train = flag("data.num_train")
    num_valid = flag("data.num_valid")
    num_test = flag("data.num_test")
    source = flag("data.source")
    max_length = flag("data.max_length")
    choices = flag("data.choices", **CHOICES)
    strict = flag("data.strict")


class StudentFlags(Options, panel=_MODEL):
    """The model that learns."""

    model_name = flag(
        "model.name",
        "--student_dir",
        help="folder, GGUF file or hub name of the student; also a distilled student or adapter",
    )
    template = flag("template")
    quantization = flag(
        "model.quantization",
        kind=Literal["nf4", "none"],
        to_recipe=lambda value: None if value == "none" else value,
    )
    trust_remote_code = flag("model.trust_remote_code")
    local_files_only = flag("model.local_files_only")


class LoraFlags(Options, panel=_LORA):
    """Whether an adapter is trained, and which."""

    lora_r = flag("lora.r", "--r")
    lora_alpha = flag("lora.alpha")
    lora_dropout = flag("lora.dropout")
    target_modules = flag("lora.target_modules", kind=list[str], to_recipe=",".join)
    full_finetuning = flag(None, kind=bool, help="train all weights instead of an adapter")


class TrainingFlags(Options, panel=_TRAINING):
    """How it is trained."""

    epochs = flag("train.epochs")
    max_steps = flag("train.max_steps")
    batch_size = flag("train.batch_size")
    micro_batch_size = flag("train.micro_batch_size", "--per_device_train_batch_size")
    gradient_accumulation_steps = flag(
        None,
        kind=int,
        help="forward passes per optimizer step: batch_size is this times micro_batch_size times "
        "the number of processes",
    )
    learning_rate = flag("train.learning_rate", "--lr")
    warmup_steps = flag("train.warmup_steps")
    optimizer = flag("train.optimizer")
    precision = flag("train.precision")
    gradient_checkpointing = flag("train.gradient_checkpointing")
    checkpoint_every = flag("train.checkpoint_every", "--save_steps")
    seed = flag("seed")

    def batches(
        self, *, batch: int, micro: int | None, accumulation: int | None, processes: int
    ) -> dict[str, Any]:
        """The batch and its parts as a recipe has them, from flags and defaults of the verb.

        Args:
            batch: examples per optimizer step, where flags leave it open.
            micro: examples per forward pass and process, where flags leave it open.
            accumulation: forward passes per optimizer step, where flags leave it and batch open.
            processes: that train together.

        Raises:
            SettingError: a flag is below 1, or they contradict each other.
        """
        names = ("batch_size", "micro_batch_size", "gradient_accumulation_steps")
        for name in names:
            found = getattr(self, name)
            if found is not None and found < 1:
                raise SettingError(name, found=found, needed="at least 1", remedy="raise it")
        whole: Any = self.batch_size
        part: Any = self.micro_batch_size
        passes: Any = self.gradient_accumulation_steps
        if whole is None and passes is None:
            passes = accumulation
        if passes is None:
            whole = whole or batch
            part = part or _largest(whole, micro, processes)
            return {"batch_size": whole, "micro_batch_size": part}
        if whole is None and (part or micro) is not None:
            part = part or micro
            return {"batch_size": part * passes * processes, "micro_batch_size": part}
        whole = whole or batch
        part = part or whole // (passes * processes)
        if part * passes * processes != whole:
            self._contradict(whole, processes)
        return {"batch_size": whole, "micro_batch_size": part}

    def _contradict(self, whole: int, processes: int) -> NoReturn:
        """Raises SettingError for sizes that cannot be had together."""
        others = [
            setting(name, getattr(self, name))
            for name in ("micro_batch_size", "gradient_accumulation_steps")
            if getattr(self, name) is not None
        ]
        others += [f"{processes} processes"] if processes > 1 else []
        raise SettingError(
            "batch_size",
            found=f"{whole} with {' and '.join(others)}, whose product it is not",
            needed="sizes that fit each other",
            remedy="leave one of them out",
        )


def _largest(whole: int, micro: int | None, processes: int) -> int | None:
    """The largest part of a process' share of a batch, `micro` at the most, that divides it."""
    return None if micro is None else math.gcd(max(1, whole // processes), micro)


class RemovalFlags(Options, panel=_REMOVAL):
    """When thought tokens go."""

    removal = flag("schedule.removal")
    delta = flag("schedule.delta")
    per = flag("schedule.per")
    smoothing = flag(
        "schedule.smoothing",
        kind=float | Literal["auto", "null"],
        to_recipe=lambda value: None if value == "null" else value,
    )
    auxiliary_loss = flag("schedule.auxiliary_loss")
    baselines = flag(
        "baselines",
        kind=bool,
        help="also train the explicit-CoT and the no-CoT model, for as many steps",
        default=False,
    )


class RunFolderFlags(Options, panel=_OUTPUT):
    """Where it goes."""

    output = flag(
        "output",
        "--out_dir",
        help="run folder: the model, its checkpoints, logs and report",
    )


class QuestionFlags(Options, panel=_DATA):
    """Which records of a data set are questions, and under which names."""

    subset = flag(None, kind=str, help="of a data set that has several, such as main")
    split = flag(None, kind=str, help="of a data set", default="train")
    question_field = flag(None, kind=str, help="where the question stands", default="question")
    answer_field = flag(None, kind=str, help="where the gold answer stands", default="answer")


class EngineFlags(Options, panel=_ENGINE):
    """Who is asked; each engine has flags of its own."""

    teacher_dir = flag(
        "teacher.model.name",
        help="transformers: model or adapter folder, GGUF file, or hub name of one that is here",
    )
    prompt = flag("teacher.prompt")
    base_url = flag("teacher.base_url")
    model = flag(None, kind=str, help="openai: the model's name on the server")
    api_key_env = flag("teacher.api_key_env")
    concurrency = flag("teacher.concurrency")
    requests_per_minute = flag("teacher.requests_per_minute")
    max_cost = flag("teacher.max_cost")
    price_prompt = flag("teacher.price_prompt")
    price_completion = flag("teacher.price_completion")
    revision = flag("teacher.model.revision", help="transformers: of a hub name")
    tokenizer = flag(
        "teacher.model.tokenizer",
        help="transformers: hub name, folder, GGUF file or 'characters', in place of the model's",
    )
    attn_implementation = flag(
        "teacher.model.attn_implementation",
        help="transformers: sdpa, eager, flash_attention_2, ...",
    )
    batch_size = flag("teacher.batch_size")
    dtype = flag("teacher.dtype")
    quantization = flag(
        "teacher.model.quantization",
        help="transformers: nf4 loads the weights in 4 bits, a quarter of the memory",
    )
    trust_remote_code = flag(
        "teacher.model.trust_remote_code",
        help="transformers: run Python code that came with the model",
    )


class SamplingFlags(Options, panel=_SAMPLING):
    """How the next token is chosen."""

    max_new_tokens = flag("teacher.max_new_tokens", help="limit per answer", default=MAX_NEW_TOKENS)
    temperature = flag("teacher.temperature")
    top_p = flag("teacher.top_p")
    seed = flag("seed", help="same seed, same draws")


class VettingFlags(Options, panel=_VETTING):
    """Which traces a student may learn from."""

    majority = flag("vet.majority")
    max_tokens = flag("vet.max_tokens")
    pattern = flag("vet.pattern")
    overlap = flag("vet.overlap")
    max_per_question = flag("vet.max_per_question")
    choices = flag("data.choices", **CHOICES)


class EvaluateSamplingFlags(SamplingFlags):
    """How the next token is chosen, up to the limit that the model's own card sets."""

    max_new_tokens = flag(
        "evaluate.max_new_tokens",
        help="limit per answer; default: what the model's unspoken.json says, else 256",
    )


class AskingFlags(Options, panel=_SAMPLING):
    """What a teacher is shown, and how often it answers."""

    samples_per_question = flag("teacher.samples_per_question")
    few_shot = flag("teacher.few_shot", help="JSONL with solved questions that it is shown first")
    system_prompt = flag("teacher.system_prompt")
    choices = flag("data.choices", **CHOICES)


class PortionFlags(Options, panel=_PORTION):
    """Which of the questions are asked."""

    start_index = flag(None, kind=int, help="index of the first question", default=0)
    num_samples = flag(None, kind=int, help="only so many questions")
    shard = flag(
        None,
        kind=str,
        help="such as 3/16: the third of sixteen parts, for SLURM arrays from 1; the part's file "
        "is named after OUTPUT, and unspoken merge joins them",
    )


class AskedModelFlags(Options, panel=_MODEL, required=("base_model",)):
    """The model that is measured."""

    base_model = flag(
        "model.name",
        "--model",
        help="folder, GGUF file or hub name, of a model or of an adapter that names its base model",
    )
    lora_model = flag(None, kind=str, help="folder of a LoRA adapter, laid over the base model")
    template = flag(
        "template",
        help="how questions are put; default: what the model's unspoken.json says, else plain",
        default=False,
    )
    dtype = flag(
        None,
        kind=DtypeName,
        help="of the weights; auto: bfloat16 on a machine that has it (on a CPU: where the model "
        "is wide enough to gain), else float32",
        default="auto",
    )
    quantization = flag("model.quantization", help="nf4: the base model's weights in 4 bits")
    local_files_only = flag("model.local_files_only")
    trust_remote_code = flag("model.trust_remote_code")


class MeasuringFlags(Options, panel=_MEASURING):
    """How much is asked, and how it is timed."""

    num_samples = flag(
        None,
        kind=int,
        help="answers to each question, for pass@k and majority@k; needs a temperature",
        default=1,
    )
    batch_size = flag("evaluate.batch_size")
    limit = flag("evaluate.limit")
    choices = flag("data.choices", **CHOICES)
    only_choices = flag("evaluate.only_choices")
    strict = flag("data.strict", help="a question that stands twice is an error, and no warning")
    num_latency = flag("evaluate.num_latency", help="questions timed one by one")
    latency_seconds = flag("evaluate.latency_seconds", help="that this takes at the most")


class JudgingFlags(Options, panel=_MEASURING):
    """How answers are judged."""

    choices = flag("data.choices", **CHOICES)


class AskFlags(Options, panel=_MODEL):
    """How a model is asked and loaded."""

    max_new_tokens = flag(
        "evaluate.max_new_tokens",
        help="limit per answer; default: what the model's unspoken.json says, else 256",
    )
    template = flag(
        "template",
        help="how questions are put; default: what the model's unspoken.json says, else its chat "
        "template, else plain",
        default=False,
    )
    dtype = flag(
        None,
        kind=DtypeName,
        help="of the weights; auto: as they were saved",
        default="float32",
    )
    trust_remote_code = flag("model.trust_remote_code")
