"""The sections of a recipe that has a teacher: who writes traces, which are kept, the costs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from unspoken.common.address import holds_key, read_address, read_variable
from unspoken.common.errors import setting, shorten
from unspoken.common.settings import (
    Natural,
    NumberFromZero,
    Positive,
    PositiveNumber,
    Share,
    Temperature,
)
from unspoken.recipe.sections import DtypeName, Model, Section, Train

Price = NumberFromZero
#: Tokens of a reply at the most, where nothing says how long one may be.
MAX_NEW_TOKENS = 512
#: Settings of `Teacher.model` for one that is loaded here; a server has its own ways for them.
OF_LOCAL_MODEL: tuple[str, ...] = (
    "revision", "tokenizer", "attn_implementation", "quantization", "trust_remote_code",
)  # fmt: skip
#: What stands in `Teacher.serve` for the model's name and the port.
PLACES = ("{model}", "{port}")
_PLACE = re.compile(r"\{\w*\}")  # an option in JSON has other signs between its brackets


def split_command(command: str) -> list[str]:
    """Program and arguments, by the rules of a POSIX shell; raises ValueError where there are none.

    Example:
        >>> split_command("vllm serve {model} --port {port}")
        ['vllm', 'serve', '{model}', '--port', '{port}']
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("it is empty")
    return words


class Teacher(Section):
    """Who writes the chains of thought; see `unspoken.teach.traces` and `unspoken.teach.engines`.

    With `model.config` the teacher itself is trained first, from scratch, on the first `num_train`
    training examples and their own thoughts; it is asked the others.
    """

    engine: Literal["transformers", "openai", "worked"] = Field(
        default="transformers",
        description="transformers: `model` in this process; openai: a server at `base_url`, or one "
        "that `serve` starts; worked: the solutions that the questions carry, or that unspoken "
        "works out",
    )
    model: Model | None = Field(
        default=None, description="the teacher; with engine openai its name on the server"
    )
    train: Train | None = Field(default=None, description="how a teacher from scratch is trained")
    num_train: Positive | None = Field(
        default=None, description="training examples that a teacher from scratch learns from"
    )
    prompt: Literal["auto", "chat", "plain", "trained"] = Field(
        default="auto",
        description="auto: as unspoken trained the model, else its chat template, else plain",
    )
    system_prompt: str | None = Field(
        default=None, description="in place of the default instruction; '' leaves it out"
    )
    few_shot: Path | None = Field(default=None, description="JSONL with solved questions")
    samples_per_question: Positive = Field(
        default=1, description="traces of each question; more than one needs a temperature"
    )
    temperature: Temperature = Field(default=0.0, description="0 takes the likeliest token")
    top_p: Share = Field(
        default=1.0,
        description="with a temperature: only the likeliest tokens with this much probability "
        "together",
    )
    max_new_tokens: Positive | None = Field(
        default=None,
        description=f"limit per trace; empty: {MAX_NEW_TOKENS}, or what the model's unspoken.json "
        "says",
    )
    retries: Natural = Field(
        default=0, description="times that questions without a kept trace are asked again"
    )
    retry_temperature: PositiveNumber = Field(default=0.7, description="temperature of the retries")
    batch_size: Positive = Field(
        default=64, description="transformers: questions at once; halved when memory runs out"
    )
    dtype: DtypeName = Field(
        default="auto",
        description="transformers: of the weights; auto: as saved on a GPU; on a CPU bfloat16 "
        "where it has it and the model is wide enough to gain, else float32",
    )
    base_url: str | None = Field(
        default=None, description="openai: address, such as http://localhost:8000/v1"
    )
    serve: str | None = Field(
        default=None,
        description="command that starts a server of `model` for as long as it is asked, in place "
        "of `base_url`: vllm serve {model} --host 127.0.0.1 --port {port}",
    )
    serve_timeout: PositiveNumber = Field(
        default=1800, description="serve: seconds that it may take until it answers"
    )
    api_key_env: str | None = Field(
        default=None, description="openai: environment variable that holds the key"
    )
    concurrency: Positive = Field(default=8, description="openai: requests at a time")
    requests_per_minute: PositiveNumber | None = Field(
        default=None, description="openai: requests at the most; empty: no limit"
    )
    max_cost: Price | None = Field(
        default=None,
        description="openai: spend no more than this on each file: traces, retries, test answers",
    )
    price_prompt: Price | None = Field(default=None, description="of a million prompt tokens")
    price_completion: Price | None = Field(default=None, description="of a million written tokens")
    evaluate: bool = Field(
        default=True, description="ask the teacher the test questions, too; worked is never asked"
    )

    @property
    def from_scratch(self) -> bool:
        """Whether the run trains the teacher itself."""
        return self.model is not None and self.model.config is not None

    @property
    def writes_worked_thoughts(self) -> bool:
        """Whether its thoughts look like those that the questions carry."""
        return self.engine == "worked" or self.from_scratch

    @model_validator(mode="before")
    @classmethod
    def _served_is_openai(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("serve") is not None:
            return {"engine": "openai", **values}
        return values

    @model_validator(mode="after")
    def _a_command_that_serves(self) -> Teacher:
        if self.serve is None:
            return self
        if self.engine != "openai" or self.base_url is not None:
            other = setting("teacher.engine", self.engine)
            if self.base_url is not None:  # which may hold a key
                other = setting("teacher.base_url")
            raise ValueError(
                f"{setting('teacher.serve')}: found it with {other}, which has no use for a server "
                "that this run starts; leave one of them out"
            )
        if self.model is None or not self.model.name:
            raise ValueError(
                f"{setting('teacher.serve')}: found it without {setting('teacher.model.name')}; "
                "needed: the model that is served, a folder or a name that the server knows"
            )
        try:
            words = split_command(self.serve)
        except ValueError as error:
            raise ValueError(
                f"{setting('teacher.serve')}: found {shorten(self.serve)}, which is no command "
                f"({error}); needed: a program and its arguments, quoted as for a shell"
            ) from None
        if holds_key(words):
            raise ValueError(
                f"{setting('teacher.serve')}: found what looks like a key in it, which would stand "
                "in files and messages; needed: a command without one; leave it out, or put it "
                "into an environment variable that the server reads, such as VLLM_API_KEY"
            )
        places = {place for word in words for place in _PLACE.findall(word)}
        unknown = sorted(places - set(PLACES))
        if unknown or "{port}" not in places:
            found = " and ".join(unknown) if unknown else "no {port}"
            raise ValueError(
                f"{setting('teacher.serve')}: found {found} in {shorten(self.serve)}; needed: "
                "{port} for the port that unspoken chooses, and {model} for "
                f"{setting('teacher.model.name')}; nothing else in such brackets"
            )
        return self

    @model_validator(mode="after")
    def _an_engine_that_can_answer(self) -> Teacher:
        if self.engine == "transformers" and self.model is None:
            raise ValueError(
                f"{setting('teacher.model')}: missing; {setting('teacher.engine', self.engine)} "
                f"needs {setting('teacher.model.name')} (a folder, or a hub name that was "
                f"downloaded) or {setting('teacher.model.config')} (from scratch)"
            )
        if self.engine == "openai" and self.base_url is None and self.serve is None:
            raise ValueError(
                f"{setting('teacher.base_url')}: missing; {setting('teacher.engine', 'openai')} "
                "needs the server's address, such as http://localhost:8000/v1, or in "
                f"{setting('teacher.serve')} the command that starts one"
            )
        return self

    @model_validator(mode="after")
    def _a_server_is_told_nothing_of_its_model(self) -> Teacher:
        if self.engine != "openai" or self.model is None or self.from_scratch:
            return self
        given = [name for name in OF_LOCAL_MODEL if getattr(self.model, name)]
        if given:
            how = (
                f"as an option of its own in {setting('teacher.serve')}, or name a folder that "
                "unspoken download made"
                if self.serve is not None
                else "where the server is started"
            )
            name = f"teacher.model.{given[0]}"
            raise ValueError(
                f"{setting(name)}: found it with a teacher on a server, to which it is not passed "
                "on; needed: nothing but the model's name; leave it out "
                f"({setting(name, 'null')}), and give it {how}"
            )
        return self

    @model_validator(mode="after")
    def _a_server_without_a_key_in_it(self) -> Teacher:
        if self.base_url is not None:
            try:
                read_address(self.base_url, setting("teacher.api_key_env"))
            except ValueError as error:
                raise ValueError(f"{setting('teacher.base_url')}: {error}") from None
        if self.api_key_env is not None:
            try:
                read_variable(self.api_key_env)
            except ValueError as error:
                raise ValueError(f"{setting('teacher.api_key_env')}: {error}") from None
        return self

    @model_validator(mode="after")
    def _trained_from_scratch_or_not_at_all(self) -> Teacher:
        how, num = setting("teacher.train"), setting("teacher.num_train")
        scratch = setting("teacher.model.config")
        if self.from_scratch and (self.train is None or self.num_train is None):
            raise ValueError(
                f"{how} and {num} are needed for a teacher from scratch ({scratch}): how it is "
                "trained, and on how many of the examples"
            )
        if not self.from_scratch and (self.train or self.num_train):
            raise ValueError(
                f"{how} and {num} are for a teacher from scratch; found them without {scratch}; "
                "leave them out"
            )
        return self

    @model_validator(mode="after")
    def _draws_that_differ(self) -> Teacher:
        temperature = setting("teacher.temperature")
        if self.samples_per_question > 1 and self.temperature == 0:
            raise ValueError(
                f"{setting('teacher.samples_per_question')}: found {self.samples_per_question} "
                f"with {setting('teacher.temperature', 0)}, which makes them all the same; set "
                f"{temperature}, such as 0.7"
            )
        if self.top_p < 1 and self.temperature == 0 and not self.retries:
            raise ValueError(
                f"{setting('teacher.top_p')}: found {self.top_p} with "
                f"{setting('teacher.temperature', 0)} and no {setting('teacher.retries')}, which "
                f"do not look at it; set {temperature}, such as 0.7, or leave it out"
            )
        return self


class Vet(Section):
    """Which traces are kept; see `unspoken.teach.vet`."""

    majority: bool = Field(
        default=False,
        description="questions without a gold answer: keep traces that agree with most of theirs",
    )
    max_tokens: Positive | None = Field(default=None, description="drop longer traces")
    pattern: str | None = Field(
        default=None, description="drop thoughts that this regular expression does not match whole"
    )
    overlap: Share = Field(
        default=0.5,
        description="drop questions that share runs of 8 words, so much of them, with a test "
        "question of the same numbers",
    )
    max_per_question: Positive | None = Field(
        default=None, description="keep no more traces of a question than this"
    )

    @model_validator(mode="after")
    def _a_regular_expression(self) -> Vet:
        try:
            re.compile(self.pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(
                f"{setting('vet.pattern')}: found {shorten(self.pattern)}, which is no regular "
                f"expression ({error}); needed: one that matches a whole thought; correct it"
            ) from None
        return self


class Costs(Section):
    """Prices, for the report's table of costs."""

    currency: str = Field(default="USD", description="of all prices")
    machine_per_hour: Price | None = Field(
        default=None, description="of the machine that runs this; empty: costs in time only"
    )
