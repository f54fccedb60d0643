"""The sections that every recipe has: data, model, adapters, schedule, training, measuring."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from unspoken.common.errors import SettingError, setting, shorten
from unspoken.common.settings import (
    BatchSize,
    Natural,
    NumberFromZero,
    NumDigits,
    NumExamples,
    NumExamplesOrNone,
    Positive,
    PositiveNumber,
    Share,
    ShareBelowOne,
    tell_once,
)
from unspoken.recipe.choices import Labels

#: Of weights that are asked; auto: as they were saved, on a CPU what is fastest.
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
#: How question, thought and answer are put together; `unspoken.models.template` renders them.
TemplateName = Literal["plain", "compact", "qa", "chat"]
#: What a task makes where a recipe or the command line does not say how much.
SIZES = {
    "arithmetic": {"num_train": 377, "num_valid": 0, "num_test": 95},
    "gsm8k": {"num_valid": 500},
}


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors and values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def names_in(cls, section: str) -> dict[str, str]:
        """Names of its settings -> their keys in a recipe, for `settings_of`."""
        return {name: f"{section}.{name}" for name in cls.model_fields}


def section_of(kind: Any) -> type[BaseModel] | None:
    """The section that a setting of this type holds, also where it may be left out: Lora | None."""
    # in Python 3.10 list[str] is an instance of type as well, and issubclass refuses it
    kinds = (kind, *get_args(kind))
    return next((each for each in kinds if isinstance(each, type(BaseModel))), None)


def _require_plain(value: Any, key: str, deepest: int = 20) -> None:
    """Refuses what no configuration of a model holds, wherever it stands in a free section."""
    if isinstance(value, dict | list | tuple) and deepest:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in pairs:
            _require_plain(each, f"{key}.{name}", deepest - 1)
        return
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, str | int | float | bool | None) or not is_finite:
        raise ValueError(
            f"{shorten(key)}: found {shorten(value)}; needed: text, a finite number, true, false, "
            f"null, or a list or section of these; correct it"
        )


def split_names(text: str) -> list[str]:
    """Names in one text, with commas or blanks between them.

    Examples:
        >>> split_names("fractions, ratios")
        ['fractions', 'ratios']
    """
    return [name for name in re.split(r"[,\s]+", text) if name]


def _size(text: str) -> Any:
    """`3x2` as [3, 2]; anything else as it is."""
    found = re.fullmatch(r"(\d+)[xX*×](\d+)", text)
    return text if found is None else [int(found[1]), int(found[2])]


def read_sizes(words: Sequence[str]) -> list[tuple[int, int]]:
    """Sizes of both factors as people type them: `3x2` is a word, `3 2` are two.

    Raises:
        SettingError: a word is neither a size nor a number, or a number is alone.

    Examples:
        >>> read_sizes(["3x2", "4", "4"])
        [(3, 2), (4, 4)]
    """
    numbers = [each for word in words for each in re.split(r"[xX*×]", word, maxsplit=1)]
    are_whole = all(re.fullmatch("[0-9]{1,4}", number) for number in numbers)
    if not words or not are_whole or len(numbers) % 2:
        raise SettingError(
            "digits",
            found=shorten(" ".join(words)),
            needed="digits of both factors, such as 3x2, or 3x2 4x4 for a mix",
            remedy="write them so",
        )
    counts = list(map(int, numbers))
    return list(zip(counts[::2], counts[1::2], strict=True))


class Data(Section):
    """Where the questions come from, and how many."""

    task: Literal["multiplication", "arithmetic", "gsm8k", "jsonl"] = Field(
        default="jsonl",
        description="a task that unspoken makes or converts itself, or your own JSONL files",
    )
    digits: list[tuple[NumDigits, NumDigits]] = Field(
        default=[(4, 4)],
        max_length=100,
        description="multiplication: digits of both factors, such as 3x2; several sizes mix",
    )
    difficulty: Literal["easy", "medium", "hard"] = Field(
        default="medium", description="arithmetic: size of the numbers and number of steps"
    )
    categories: list[str] | None = Field(
        default=None,
        description="arithmetic: only these of the six, such as fractions,ratios; empty: all",
    )
    num_train: NumExamples = Field(
        default=808_000,
        description="multiplication, arithmetic (default 377): size of the training split",
    )
    num_valid: NumExamplesOrNone = Field(
        default=1_000,
        description="validation examples (arithmetic: default 0, gsm8k: 500); of a jsonl file "
        "without a validation file so many are held out, a tenth at the most; 0: none",
    )
    num_test: NumExamples = Field(
        default=1_000,
        description="multiplication, arithmetic (default 95): held-out test examples",
    )
    source: str | None = Field(
        default=None,
        description="gsm8k: folder with the raw train.jsonl and test.jsonl; empty: the hub",
    )
    thought: Literal["equations", "sentences"] = Field(
        default="equations",
        description="gsm8k: equations alone, as the paper has them, or whole sentences",
    )
    train: Path | None = Field(
        default=None,
        description="training file: JSONL with question, thought and answer, a teacher's traces "
        "(question and cot), the paper's .txt, or raw GSM8K; with a teacher: questions",
    )
    valid: Path | None = Field(
        default=None, description="validation file; the best model is chosen with it"
    )
    test: Path | None = Field(
        default=None, description="test file, asked once, at the end; its questions are not learned"
    )
    max_length: Positive | None = Field(
        default=None, description="drop examples with more tokens than this (paper: 150 on GSM8K)"
    )
    choices: Labels | None = Field(
        default=None,
        description="jsonl: the only answers that there are, such as billing,login,other: prompts "
        "name them, an answer counts as the one that it names, and each is measured",
    )
    strict: bool = Field(
        default=False,
        description="jsonl: a question that stands twice in the validation or test file is an "
        "error; else it is asked once, and a warning counts them",
    )
    allow_leaks: bool = Field(default=False, description="go on although splits share questions")
    allow_empty_thoughts: bool = Field(
        default=False, description="jsonl: examples may have no thought"
    )

    @property
    def given(self) -> dict[str, Path]:
        """The user's files by the names of their splits."""
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: path for name, path in files.items() if path is not None}

    @field_validator("categories", mode="before")
    @classmethod
    def _categories_in_one_text(cls, value: Any) -> Any:
        return split_names(value) if isinstance(value, str) else value

    @field_validator("digits", mode="before")
    @classmethod
    def _short_digits(cls, value: Any) -> Any:
        """`3x2` or `3*2` as [[3, 2]]; several with commas or blanks between them."""
        parts = split_names(value) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        return [_size(each) if isinstance(each, str) else each for each in parts]

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_the_task(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {**SIZES.get(str(values.get("task")), {}), **values}
        return values

    @model_validator(mode="after")
    def _choices_of_ones_own(self) -> Data:
        if self.choices is not None and self.task != "jsonl":
            raise ValueError(
                f"{setting('data.choices')}: found it with task '{self.task}', whose answers are "
                f"no classes; leave it out, or set {setting('data.task', 'jsonl')}"
            )
        return self

    @model_validator(mode="after")
    def _jsonl_needs_files(self) -> Data:
        if self.task != "jsonl" and (self.train or self.valid or self.test):
            raise ValueError(
                f"task '{self.task}' makes its own files; found {setting('data.train')}, "
                f"{setting('data.valid')} or {setting('data.test')}; leave them out, or set "
                f"{setting('data.task', 'jsonl')}"
            )
        if self.task == "jsonl" and self.train is None:
            raise ValueError(
                f"task 'jsonl' needs {setting('data.train')}, a JSONL file with question, thought "
                f"and answer; set it, or choose {setting('data.task', 'multiplication')}, "
                "arithmetic or gsm8k"
            )
        return self


class Model(Section):
    """The model that learns: a hub name, a folder or GGUF file, or a configuration from scratch."""

    name: str | None = Field(
        default=None, description="hub name, folder or GGUF file; empty: built from `config`"
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="from scratch: model_type and its arguments, as transformers names them",
    )
    tokenizer: str | None = Field(
        default=None,
        description="hub name, folder, GGUF file or 'characters'; empty: the one that comes "
        "with `name`",
    )
    alphabet: str | None = Field(
        default=None,
        description="tokenizer 'characters': its symbols (default: printable ASCII, × and ÷)",
    )
    revision: str | None = Field(
        default=None, description="hub revision, for runs that can be repeated"
    )
    attn_implementation: str | None = Field(
        default=None, description="sdpa, eager, flash_attention_2, ..."
    )
    quantization: Literal["nf4"] | None = Field(
        default=None, description="nf4: 4-bit weights, double quantization; needs `lora`"
    )
    trust_remote_code: bool = Field(
        default=False, description="run Python code that came with the model"
    )
    local_files_only: bool = Field(default=False, description="never touch the network")

    @model_validator(mode="after")
    def _name_or_config(self) -> Model:
        if (self.name is None) == (self.config is None):
            raise ValueError(
                "exactly one of model.name (a hub name or folder) and model.config (from scratch) "
                f"is needed; found {'both' if self.name else 'neither'}"
            )
        if self.config is not None:
            _require_plain(self.config, "model.config")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError(
                "model.config needs model_type, such as gpt2; "
                f"found only {shorten(', '.join(map(str, self.config)), 200)}"
            )
        if self.config is not None and self.tokenizer is None:
            raise ValueError("model.config needs model.tokenizer: 'characters', a folder or a name")
        return self


class Lora(Section):
    """Low-rank adapters; the model itself stays frozen."""

    r: Positive = Field(default=8, description="rank")
    alpha: Positive = Field(default=16, description="scale: alpha / r")
    dropout: ShareBelowOne = Field(
        default=0.05, description="share of the adapter's inputs that is dropped in training"
    )
    target_modules: Literal["auto", "all-linear"] | list[str] = Field(
        default="auto",
        description="which modules get an adapter: names, such as q_proj,v_proj, or all-linear; "
        "auto: q, k, v, o, up and down projections where the model has them (not gate_proj), else "
        "every linear layer of its blocks",
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _names_in_one_text(cls, value: Any) -> Any:
        is_names = isinstance(value, str) and value not in ("auto", "all-linear")
        return split_names(value) if is_names else value


#: `Schedule.delta` where it is not given: tokens by linear removal per epoch, or over a run as a
#: multiple of all there are; tokens at once by adaptive removal.
DELTA_PER_EPOCH, DELTA_PER_RUN, DELTA_AT_ONCE = 8.0, 1.25, 1.0
#: `Schedule.smoothing: auto`. With 1.0 37 % of the examples are ahead of their level, by 1.6 tokens
#: on average; with the paper's 4.0 2 %.
AHEAD, AHEAD_IN_THE_PAPER = 1.0, 4.0


class Schedule(Section):
    """How many thought tokens are gone at each step; see `unspoken.train.schedule`."""

    removal: Literal["none", "all", "linear", "adaptive"] = Field(
        default="linear", description="none: explicit CoT; all: no CoT from the first step"
    )
    delta: PositiveNumber | None = Field(
        default=None,
        description=f"linear: tokens removed per epoch (default {DELTA_PER_EPOCH:g}) or over the "
        f"run (default {DELTA_PER_RUN} times all there are, gone after 80 % of the steps); "
        f"loss_below, accuracy_above: tokens removed at once (default {DELTA_AT_ONCE:g}); other "
        "adaptive removal finds it out by itself, up to most_at_once",
    )
    per: Literal["epoch", "run"] = Field(
        default="epoch", description="linear: what delta counts for"
    )
    unit: Literal["token", "step"] = Field(
        default="token", description="what is removed at once: a token, or a line or equation"
    )
    side: Literal["left", "right"] = Field(default="left", description="where removal starts")
    smoothing: Annotated[PositiveNumber | Literal["auto"] | None, WrapValidator(tell_once)] = Field(
        default="auto",
        description="lambda of the random offset, by which examples are ahead of their level; "
        f"auto: {AHEAD:g} with adaptive removal that measures, else {AHEAD_IN_THE_PAPER:g}; null: "
        "no offset",
    )
    positions: Literal["natural", "gap"] = Field(
        default="natural",
        description="natural: later tokens move up; gap: they stay where they were",
    )
    start: Natural = Field(default=0, description="tokens already removed at the first step")
    warmup_steps: Natural = Field(default=0, description="steps before removal begins")
    remove_all_beyond: Positive | None = Field(
        default=None, description="remove everything once this many are gone (paper: 39 on GSM8K)"
    )
    reset_optimizer: bool = Field(
        default=True, description="forget AdamW's moments at every removal"
    )
    auxiliary_loss: NumberFromZero = Field(
        default=0.0,
        description="weight of a second loss: what predicts a kept token has to know the removed "
        "ones as well; 0: without",
    )
    margin: PositiveNumber = Field(
        default=2.5,
        description="adaptive: a level has recovered when its validation loss is within so many "
        "nats a question of what the explicit model had on the same kept tokens",
    )
    margin_per_token: NumberFromZero = Field(
        default=0.14,
        description="adaptive: the same for each token that is kept, where that is more "
        "altogether: while weights are trained every token of a long thought varies a little; 0: "
        "without",
    )
    last_margin: PositiveNumber = Field(
        default=0.7, description="adaptive: the margin once everything is removed"
    )
    answer_margin: PositiveNumber | None = Field(
        default=2.0,
        description="adaptive: nats by which the answer alone may be worse at any level, with each "
        "try as much more, up to 2.1: a digit of it that is a mere guess costs 2.3; null: only "
        "what a level keeps altogether counts",
    )
    patience: Positive = Field(
        default=400,
        description="adaptive: steps without progress that are one try to make up for a single "
        "token, twice as many each time; several at once get a quarter of it in all",
    )
    most_at_once: Positive = Field(
        default=8, description="adaptive: most tokens that are removed at once"
    )
    tries: Positive = Field(
        default=3, description="adaptive: tries to remove a single token before the run ends"
    )
    measure_every: Positive = Field(
        default=20, description="adaptive: steps between measurements of recovery"
    )
    loss_below: PositiveNumber | None = Field(
        default=None,
        description="adaptive, the older form that only holds: remove once the mean loss of kept "
        "tokens in training is below this",
    )
    accuracy_above: Share | None = Field(
        default=None,
        description="adaptive, the older form: remove once validation accuracy at this level has "
        "reached this; with both criteria, both must hold",
    )
    window: Positive = Field(
        default=50, description="loss_below: steps in that mean, and the shortest hold"
    )
    max_hold: Positive | None = Field(
        default=None, description="adaptive: longest hold of one level, in steps"
    )
    max_total_hold: Positive | None = Field(
        default=None, description="loss_below: longest time in holds altogether, in steps"
    )
    at_limit: Literal["remove", "stop"] = Field(
        default="remove",
        description="loss_below: what a limit does; stop: stay at this level to the end",
    )

    @field_validator("smoothing", mode="before")
    @classmethod
    def _null_for_inf(cls, value: Any) -> Any:
        if str(value).strip("+.").lower() in ("inf", "infinity"):  # as the paper's code has it
            needed = "a number, or 'auto', or schedule.smoothing=null for no offset"
            raise PydanticCustomError("number_range", needed)
        return value

    @property
    def measures(self) -> bool:
        """Whether removal is adaptive by what is measured, with ways back."""
        criteria = (self.loss_below, self.accuracy_above)
        return self.removal == "adaptive" and criteria == (None, None)

    @property
    def smoothing_number(self) -> float | None:
        """`smoothing`, `auto` by what it stands for."""
        if self.smoothing != "auto":
            return self.smoothing
        return AHEAD if self.measures else AHEAD_IN_THE_PAPER

    @model_validator(mode="after")
    def _a_hold_that_can_be(self) -> Schedule:
        if self.measures:  # then there is no window
            return self
        if self.max_hold is not None and self.max_hold < self.window:
            raise ValueError(
                f"schedule.max_hold ({self.max_hold}) must be at least schedule.window "
                f"({self.window}), the shortest hold"
            )
        return self


class Train(Section):
    """The training loop. Batch sizes count examples over all processes."""

    epochs: PositiveNumber | None = Field(
        default=None,
        description="passes over the data, in whole batches (a rest that fills none is left out); "
        "the shorter of epochs and max_steps counts",
    )
    max_steps: Positive | None = Field(default=None, description="optimizer steps at the most")
    settle_steps: Positive | None = Field(
        default=None,
        description="end the run this many steps after everything was removed; with removal: all "
        "it ends as without",
    )
    batch_size: BatchSize = Field(
        default=32, description="examples per optimizer step, all processes"
    )
    micro_batch_size: BatchSize | None = Field(
        default=None, description="examples per forward pass and process; empty: no accumulation"
    )
    learning_rate: PositiveNumber = Field(default=5e-5, description="learning rate, at its highest")
    lr_schedule: Literal["constant", "linear", "cosine", "polynomial", "constant_with_warmup"] = (
        Field(
            default="constant_with_warmup",
            description="how it goes on after the warm-up, which constant has not",
        )
    )
    warmup_steps: NumberFromZero = Field(
        default=0,
        description="linear warm-up, of every lr_schedule but constant; below 1: the share of all "
        "steps",
    )
    settle_decay: bool = Field(
        default=True, description="learning rate falls to 0 over settle_steps"
    )
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "muon", "sgd"] = Field(
        default="adamw",
        description="8-bit ones keep their state in a quarter of the memory; muon: for "
        "models whose weights are all trained, small ones from scratch above all",
    )
    weight_decay: NumberFromZero = Field(
        default=0.01, description="decoupled from the gradient, as AdamW has it"
    )
    betas: tuple[ShareBelowOne, ShareBelowOne] = Field(default=(0.9, 0.999), description="of AdamW")
    max_grad_norm: PositiveNumber = Field(
        default=1.0, description="longer gradients are scaled down to this norm"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="of the arithmetic; weights and optimizer state are always fp32; auto: bf16 on "
        "a GPU that has it, fp16 on another; on a CPU bf16 where it has it and the model is wide "
        "enough to gain, else fp32",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="less memory, about 30 % slower"
    )
    compile: bool = Field(default=False, description="torch.compile the model")
    group_by_length: bool = Field(default=True, description="batches of like length: less padding")
    checkpoint_every: Positive = Field(default=1_000, description="steps between checkpoints")
    keep_checkpoints: Positive = Field(default=2, description="how many of them are kept")
    evaluate_every: Positive = Field(default=1_000, description="steps between validations")
    num_valid: Positive = Field(default=500, description="validation examples for each of them")
    level_every: Natural | None = Field(
        default=None,
        description="keep the best model of one of every n levels of removal; 0: of the first and "
        "the last only; empty: of every level where there are at most 16, else of about 16",
    )
    log_every: Positive = Field(default=10, description="steps between lines of metrics.jsonl")
    trackers: list[Literal["trackio", "tensorboard", "wandb"]] = Field(
        default_factory=list, description="where metrics go beside metrics.jsonl"
    )
    threads: Positive | None = Field(
        default=None, le=1024, description="CPU threads of torch; empty: its default"
    )

    @model_validator(mode="after")
    def _an_end(self) -> Train:
        if self.epochs is None and self.max_steps is None:
            epochs, steps = setting("train.epochs"), setting("train.max_steps")
            raise ValueError(f"{epochs} or {steps} is needed; found neither")
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"{setting('train.batch_size')} ({self.batch_size}) must be a multiple of "
                f"{setting('train.micro_batch_size')} ({self.micro_batch_size})"
            )
        return self


class Evaluate(Section):
    """How the finished models are measured on the test split."""

    batch_size: BatchSize = Field(default=64, description="questions decoded together")
    max_new_tokens: Positive | None = Field(
        default=None, description="empty: as many as the longest training thought and answer need"
    )
    dtype: DtypeName = Field(
        default="float32",
        description="of the weights while it is measured; auto: bfloat16 on a machine that has it, "
        "on a CPU where the model is wide enough to gain, else float32",
    )
    limit: Positive | None = Field(default=None, description="only the first questions")
    only_choices: bool = Field(
        default=False,
        description="with choices: where a model's answer is not one of them as they stand, "
        "it answers again and can write nothing else",
    )
    num_latency: Natural = Field(
        default=50, description="questions timed one by one, all models taking turns"
    )
    latency_seconds: PositiveNumber = Field(
        default=20.0,
        description="that this takes at the most, for each model; of models that do not fit into "
        "memory together, six questions are timed in any case",
    )


class Frontier(Section):
    """Models between the one that writes its whole thought and the one that writes none of it."""

    levels: Natural = Field(
        default=0,
        description="so many levels of removal, evenly apart, are trained until they are good, to "
        "choose from; 0: none, those that were kept stay as the schedule left them",
    )
    steps: Positive = Field(
        default=300,
        description="optimizer steps for each of them, over which the learning rate falls to 0",
    )


class Baselines(Section):
    """The models that the internalized one is compared with, at equal optimizer steps."""

    explicit: Literal["train", "before_removal", "off"] = Field(
        default="off",
        description="writes its thought; before_removal: the internalized run's own checkpoint "
        "from before the first removal",
    )
    at_once: bool = Field(
        default=False,
        description="the model that writes its thought, trained on for as many steps as the "
        "internalized one with the whole thought removed at once",
    )
    no_cot: bool = Field(default=False, description="never sees a thought")
    untrained: bool = Field(
        default=False, description="the student as it was before any training; only measured"
    )
