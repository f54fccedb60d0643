"""A recipe: one experiment, typed, read from YAML and the command line.

First room on the way: every stage takes its settings from here. Importing it does not import
torch, so `tacit --help` and `tacit check` on a laptop stay instant.

Precedence: defaults < recipe file < `section.key=value` overrides. Unknown keys are refused,
with the nearest known key suggested: an option that is silently ignored costs a night.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tacit.errors import RecipeError

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors and values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Where the questions come from, and how many."""

    task: Literal["multiplication", "gsm8k", "jsonl"] = Field(
        default="jsonl",
        description="a task that tacit makes or converts itself, or your own JSONL files",
    )
    digits: list[tuple[Positive, Positive]] = Field(
        default=[(4, 4)], description="multiplication: digits of both factors; several sizes mix"
    )
    num_train: Positive = Field(
        default=808_000, description="multiplication: size of the training split"
    )
    num_valid: Positive = Field(
        default=1_000, description="multiplication, gsm8k: validation examples"
    )
    num_test: Positive = Field(default=1_000, description="multiplication: held-out test examples")
    source: str | None = Field(
        default=None, description="gsm8k: folder with raw files; empty: the hub"
    )
    thought: Literal["equations", "sentences"] = Field(
        default="equations", description="gsm8k: thought"
    )
    train: Path | None = Field(
        default=None, description="jsonl: training file (also .txt of the paper, and raw GSM8K)"
    )
    valid: Path | None = Field(default=None, description="jsonl: validation file")
    test: Path | None = Field(default=None, description="jsonl: test file")
    max_length: Positive | None = Field(
        default=None, description="drop examples with more tokens than this (paper: 150 on GSM8K)"
    )
    allow_leaks: bool = Field(default=False, description="go on although splits share questions")
    allow_empty_thoughts: bool = Field(
        default=False, description="jsonl: examples may have no thought"
    )

    @model_validator(mode="after")
    def _jsonl_needs_files(self) -> Data:
        if self.task != "jsonl" and (self.train or self.valid or self.test):
            raise ValueError(
                f"task '{self.task}' makes its own files; found data.train, data.valid or "
                "data.test; leave them out, or set data.task=jsonl"
            )
        if self.task == "jsonl" and self.train is None:
            raise ValueError(
                "task 'jsonl' needs data.train, a JSONL file with question, thought and answer; "
                "set it, or choose data.task=multiplication or gsm8k"
            )
        return self


class Model(Section):
    """The model that learns: a hub name, a folder, or a configuration to start from scratch."""

    name: str | None = Field(
        default=None, description="hub name or folder; empty: built from `config`"
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="from scratch: model_type and its arguments, as transformers names them",
    )
    tokenizer: str | None = Field(
        default=None,
        description="hub name, folder or 'characters'; empty: the one that comes with `name`",
    )
    alphabet: str | None = Field(
        default=None, description="tokenizer 'characters': its symbols (default: printable ASCII)"
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
        if self.config is not None and "model_type" not in self.config:
            raise ValueError(
                "model.config needs model_type, such as gpt2; "
                f"found only {', '.join(self.config) or 'nothing'}"
            )
        if self.config is not None and self.tokenizer is None:
            raise ValueError("model.config needs model.tokenizer: 'characters', a folder or a name")
        return self


class Lora(Section):
    """Low-rank adapters; the model itself stays frozen."""

    r: Positive = Field(default=8, description="rank")
    alpha: Positive = Field(default=16, description="scale: alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    target_modules: Literal["auto", "all-linear"] | list[str] = Field(
        default="auto",
        description="auto: the attention and MLP projections under this architecture's names",
    )


class Schedule(Section):
    """How many thought tokens are gone at each step; see `tacit.schedule`."""

    removal: Literal["none", "all", "linear", "adaptive"] = Field(
        default="linear", description="none: explicit CoT; all: no CoT from the first step"
    )
    delta: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="linear: tokens removed per epoch (default 8) or over the run (default all "
        "there are); adaptive: tokens removed at once (default 1)",
    )
    per: Literal["epoch", "run"] = Field(
        default="epoch", description="linear: what delta counts for"
    )
    unit: Literal["token", "step"] = Field(
        default="token", description="what is removed at once: a token, or a line or equation"
    )
    side: Literal["left", "right"] = Field(default="left", description="where removal starts")
    smoothing: Annotated[float, Field(gt=0)] | None = Field(
        default=4.0, description="lambda of the random offset; null: no offset"
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
    loss_below: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="adaptive: remove once the mean loss of kept tokens is below this (0.06)",
    )
    accuracy_above: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="adaptive: remove once validation accuracy at this level has reached this; "
        "with both criteria, both must hold",
    )
    window: Positive = Field(
        default=50, description="adaptive: steps in that mean, and the shortest hold"
    )
    max_hold: Positive | None = Field(
        default=None, description="adaptive: longest hold of one level"
    )
    max_total_hold: Positive | None = Field(
        default=None, description="adaptive: longest time in holds altogether, in steps"
    )
    at_limit: Literal["remove", "stop"] = Field(
        default="remove",
        description="adaptive: what a limit does; stop: stay at this level to the end",
    )

    @model_validator(mode="after")
    def _a_hold_that_can_be(self) -> Schedule:
        if self.max_hold is not None and self.max_hold < self.window:
            raise ValueError(
                f"schedule.max_hold ({self.max_hold}) must be at least schedule.window "
                f"({self.window}), the shortest hold"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _a_criterion(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("removal") == "adaptive":
            given = [values.get(key) for key in ("loss_below", "accuracy_above")]
            if given == [None, None]:
                values = {**values, "loss_below": 0.06}
        return values


class Train(Section):
    """The training loop. Batch sizes count examples over all processes."""

    epochs: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="passes over the data; the shorter of epochs and max_steps counts"
    )
    max_steps: Positive | None = Field(default=None, description="optimizer steps at the most")
    settle_steps: Positive | None = Field(
        default=None, description="end the run this many steps after everything was removed"
    )
    batch_size: Positive = Field(
        default=32, description="examples per optimizer step, all processes"
    )
    micro_batch_size: Positive | None = Field(
        default=None, description="examples per forward pass and process; empty: no accumulation"
    )
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    lr_schedule: Literal["constant", "linear", "cosine", "polynomial", "constant_with_warmup"] = (
        "constant_with_warmup"
    )
    warmup_steps: Annotated[float, Field(ge=0)] = Field(
        default=0, description="linear warm-up; below 1: the share of all steps"
    )
    settle_decay: bool = Field(
        default=True, description="learning rate falls to 0 over settle_steps"
    )
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "sgd"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of the arithmetic; weights and optimizer state are always fp32"
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
        description="keep the best model of every n-th level of removal; 0: of the first and the "
        "last only; empty: of every level where there are at most 16, else of about 16",
    )
    log_every: Positive = Field(default=10, description="steps between lines of metrics.jsonl")
    trackers: list[Literal["trackio", "tensorboard", "wandb"]] = Field(default_factory=list)
    threads: Positive | None = Field(
        default=None, description="CPU threads of torch; empty: its default"
    )

    @model_validator(mode="after")
    def _an_end(self) -> Train:
        if self.epochs is None and self.max_steps is None:
            raise ValueError("train.epochs or train.max_steps is needed; found neither")
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"train.batch_size ({self.batch_size}) must be a multiple of "
                f"train.micro_batch_size ({self.micro_batch_size})"
            )
        return self


class Evaluate(Section):
    """How the finished models are measured on the test split."""

    batch_size: Positive = Field(default=64, description="questions decoded together")
    max_new_tokens: Positive | None = Field(
        default=None, description="empty: as many as the longest training thought and answer need"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="of the weights while it is measured"
    )
    limit: Positive | None = Field(default=None, description="only the first questions")
    num_latency: Natural = Field(default=50, description="questions timed one by one")


class Baselines(Section):
    """The models that the internalized one is compared with, at equal optimizer steps."""

    explicit: Literal["train", "before_removal", "off"] = Field(
        default="off",
        description="writes its thought; before_removal: the internalized run's own checkpoint "
        "from before the first removal",
    )
    no_cot: bool = Field(default=False, description="never sees a thought")


class Recipe(Section):
    """One experiment, whole.

    `phases` runs one model through several settings in turn: each phase is a partial recipe laid
    over this one, and starts from the model that the phase before it ended with.
    """

    name: str = Field(default="run", description="names the run folder and the report")
    description: str = ""
    seed: Natural = 0
    output: Path | None = Field(default=None, description="run folder; empty: runs/<name>")
    template: Literal["plain", "compact", "chat"] = "plain"
    data: Data
    model: Model
    lora: Lora | None = Field(default=None, description="empty: all weights are trained")
    schedule: Schedule = Schedule()
    train: Train
    evaluate: Evaluate = Evaluate()
    baselines: Baselines = Baselines()
    phases: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _adapters_fit(self) -> Recipe:
        if self.model.quantization and self.lora is None:
            raise ValueError(
                "model.quantization: 4-bit weights cannot be trained themselves; add a section "
                "lora (lora: {} takes the defaults)"
            )
        if self.baselines.explicit == "before_removal" and self.schedule.start > 0:
            raise ValueError(
                "baselines.explicit: before_removal needs schedule.start: 0, or there is no "
                "checkpoint with the whole thought; set baselines.explicit: train"
            )
        if self.lora is not None and self.schedule.positions == "gap":
            raise ValueError(
                "schedule.positions: gap moves the position table, which an adapter does not "
                "hold; set schedule.positions: natural, or train without lora"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_switch(cls, values: Any) -> Any:
        return {**values, **_switched(values)} if isinstance(values, dict) else values

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.output or Path("runs") / self.name

    def resolved_phases(self) -> list[Recipe]:
        """One recipe per phase, in order; a recipe without phases is its own only phase."""
        if not self.phases:
            return [self]
        for number, phase in enumerate(self.phases):
            for key in sorted(_WHOLE_RECIPE & phase.keys()):
                raise RecipeError(
                    f"phases[{number}]: {key}: one model goes through all phases; "
                    f"set {key} outside of them"
                )
            if not str(phase.get("name", "phase")).replace("-", "").replace("_", "").isalnum():
                raise RecipeError(
                    f"phases[{number}]: name: found {phase['name']!r}; it names a folder: use "
                    "letters, digits, - and _"
                )
        base = self.model_dump(mode="json", exclude={"phases"}, exclude_unset=True)
        return [
            _validate(_merge(base, phase), f"phases[{number}]")
            for number, phase in enumerate(self.phases)
        ]


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with `section.key=value` overrides laid over it.

    Raises:
        RecipeError: the file, a key or a value cannot be used; the message names it.
    """
    values, nodes = load_values(path)
    return recipe_from(values, overrides, where=str(path), nodes=nodes)


def load_values(path: str | Path) -> tuple[dict[str, Any], yaml.Node | None]:
    """The plain values in a recipe file, and where they stand in it; raises RecipeError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(_missing_recipe(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        values = yaml.safe_load(text)
        nodes = yaml.compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise RecipeError(f"{path}{line}: not YAML ({problem}); mend this line") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: found {type(values).__name__}, needed sections such as `data:`")
    return values, nodes


def recipe_from(
    values: dict[str, Any],
    overrides: Sequence[str] = (),
    *,
    where: str = "recipe",
    nodes: yaml.Node | None = None,
) -> Recipe:
    """The recipe in nested plain values, with overrides; raises RecipeError as `load_recipe`."""
    values = {**values, **_switched(values)}
    for override in overrides:
        parsed = parse_override(override)
        parsed = {**parsed, **_switched(parsed)}
        values = _merge(values, parsed)
        # the command line wins over phases, too, except for what belongs to the whole recipe
        inner = {key: value for key, value in parsed.items() if key in _PER_PHASE}
        if inner and isinstance(values.get("phases"), list):
            phases = [_merge(phase, inner) for phase in values["phases"] if isinstance(phase, dict)]
            values = {**values, "phases": phases}
    recipe = _validate(values, where, nodes)
    recipe.resolved_phases()
    return recipe


def _switched(values: dict[str, Any]) -> dict[str, Any]:
    """`baselines: true` spelled out."""
    on = values.get("baselines")
    if not isinstance(on, bool):
        return {}
    return {"baselines": {"explicit": "train" if on else "off", "no_cot": on}}


def parse_override(text: str) -> dict[str, Any]:
    """`train.learning_rate=1e-3` as nested values: {"train": {"learning_rate": 1e-3}}.

    The value is read as YAML, so lists, numbers, true, null and quoted strings all work.
    """
    key, separator, value = text.partition("=")
    if not separator or not all(part.isidentifier() for part in key.split(".")):
        raise RecipeError(
            f"override '{text}': needed section.key=value, such as train.learning_rate=1e-4"
        )
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"override '{text}': '{value}' is not a YAML value; quote it") from None
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return parsed


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out; `load_recipe` reads it back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


#: What a phase cannot have of its own, and what an override changes in every phase.
_WHOLE_RECIPE = {"model", "lora", "seed", "baselines", "output", "phases"}
_PER_PHASE = {"template", "data", "schedule", "train", "evaluate"}
#: Keys whose value is replaced as a whole: merging two model configurations would mix them.
_WHOLE = {"config"}
#: Setting one of these in an override unsets the other.
_RIVALS = {"name": "config", "config": "name"}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE:
            merged[key] = _merge(old, value)
        elif isinstance(old, dict) and isinstance(value, dict) and "model_type" not in value:
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    for chosen, rival in _RIVALS.items():
        if over.get(chosen) is not None and rival not in over and rival in merged:
            merged[rival] = None
    if over.get("name") is not None and "config" in merged:  # a model brings its own tokenizer
        for key in ("tokenizer", "alphabet"):
            if key not in over:
                merged.pop(key, None)
    return merged


def _validate(values: dict[str, Any], where: str, nodes: yaml.Node | None = None) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, where, nodes) for problem in error.errors()]
        raise RecipeError("\n".join(dict.fromkeys(lines))) from None


def _explain(problem: Any, where: str, nodes: yaml.Node | None) -> str:
    """One line for one pydantic problem: place, what was found, what is needed."""
    path = [str(part) for part in problem["loc"]]
    line = _line_of(nodes, path)
    place = f"{where}{f':{line}' if line else ''}: {'.'.join(path) or 'recipe'}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key; {_suggest(path)}"
    if problem["type"] == "missing":
        return f"{place}: missing; this section or key is needed"
    if problem["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place}: found {problem['input']!r}; {message[0].lower()}{message[1:]}"


def _suggest(path: list[str]) -> str:
    known = list(_keys(Recipe))
    section = ".".join(path[:-1])
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    elsewhere = {key.rpartition(".")[2]: key for key in reversed(known)}  # the first one wins
    if path[-1] in elsewhere:
        return f"did you mean '{elsewhere[path[-1]]}'?"
    near = difflib.get_close_matches(".".join(path), siblings, n=1, cutoff=0.6)
    if not near:
        name = difflib.get_close_matches(path[-1], elsewhere, n=1, cutoff=0.75)
        near = [elsewhere[name[0]]] if name else []
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known here: {', '.join(key.rpartition('.')[2] for key in siblings)}"


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")


def _line_of(node: yaml.Node | None, path: list[str]) -> int | None:
    """The line of a key in the YAML text, 1-based; None where an override put it."""
    line = None
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                line, node = key.start_mark.line + 1, value
                break
        else:
            return line if len(path) == 1 else None
    return line


def _missing_recipe(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("recipes")
    names = sorted(str(file) for file in folder.glob("*.yaml"))
    near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"recipes here: {', '.join(names) or 'none'}"
    return f"{path}: no such recipe; {hint}"
