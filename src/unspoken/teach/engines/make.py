"""Settings -> the engine that they name, for the command line and for recipes.

Nothing heavy is imported before an engine is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from unspoken.common.errors import SettingError, setting
from unspoken.common.settings import NumberFromZero, Positive, PositiveNumber, checked
from unspoken.recipe import Teacher
from unspoken.recipe.sections import DtypeName
from unspoken.recipe.teacher import OF_LOCAL_MODEL
from unspoken.teach.engines import Engine
from unspoken.teach.engines.budget import Limits

if TYPE_CHECKING:
    from unspoken.teach.engines.openai import OpenAIEngine

EngineName = Literal["transformers", "openai", "worked"]


@checked(kw_only=True)
class EngineOptions:
    """What an engine needs to know; each is a flag of `unspoken generate` by the same name.

    Attributes:
        teacher_dir: transformers: model or adapter folder, or the hub name of a model that was
            downloaded before.
        prompt: auto: as unspoken trained the model, else its chat template, else the plain prompt
            (openai: chat). plain: "Q: ... A:" with an instruction.
        base_url: openai: the server's address, such as http://localhost:8000/v1.
        model: openai: the model's name on the server.
        api_key_env: openai: environment variable that holds the key (default OPENAI_API_KEY, if
            it is set).
        concurrency: openai: requests at a time.
        requests_per_minute: openai: limit.
        max_cost: openai: spend no more than this on the file; needs both prices.
        price_prompt: openai: price of a million prompt tokens.
        price_completion: openai: price of a million written tokens.
        revision: transformers: of a hub name; a branch, tag or commit.
        tokenizer: transformers: hub name, folder or 'characters', in place of the model's own.
        attn_implementation: transformers: sdpa, eager, flash_attention_2, ...
        batch_size: transformers: questions at once; halved when memory runs out.
        dtype: transformers: of the weights (auto: as saved; on a CPU what is fastest).
        quantization: transformers: nf4 loads the weights in 4 bits, a quarter of the memory.
        trust_remote_code: transformers: run Python code that came with the model.
    """

    teacher_dir: str | None = None
    prompt: Literal["auto", "chat", "plain", "trained"] = "auto"
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    concurrency: Positive = 8
    requests_per_minute: PositiveNumber | None = None
    max_cost: PositiveNumber | None = None
    price_prompt: NumberFromZero | None = None
    price_completion: NumberFromZero | None = None
    revision: str | None = None
    tokenizer: str | None = None
    attn_implementation: str | None = None
    batch_size: Positive = 64
    dtype: DtypeName = "auto"
    quantization: Literal["nf4"] | None = None
    trust_remote_code: bool = False


#: What a recipe calls the options, and what else decides how a teacher is asked.
IN_RECIPE = {
    **Teacher.names_in("teacher"),
    "teacher_dir": "teacher.model.name",
    "model": "teacher.model.name",
    **{name: f"teacher.model.{name}" for name in OF_LOCAL_MODEL},
}  # fmt: skip
#: Which options only one engine looks at; `prompt` is for both that ask a model.
_TRANSFORMERS = ("teacher_dir", "batch_size", "dtype", *OF_LOCAL_MODEL)
_OPENAI = (
    "base_url", "model", "api_key_env", "concurrency", "requests_per_minute", "max_cost",
    "price_prompt", "price_completion",
)  # fmt: skip
_UNUSED: dict[EngineName, tuple[str, ...]] = {
    "transformers": _OPENAI,
    "openai": _TRANSFORMERS,
    "worked": ("prompt", *_OPENAI, *_TRANSFORMERS),
}


def make_engine(engine: EngineName, options: EngineOptions | None = None) -> Engine:
    """The engine of this name; a local teacher is found now and loaded when it is first asked.

    Args:
        engine: transformers, openai or worked.
        options: those of other engines have to be as they are by default.

    Raises:
        SettingError, EngineError, ModelError: an option is missing or cannot be used.
    """
    options = options or EngineOptions()
    _refuse_unused(engine, options)
    if engine == "worked":
        from unspoken.teach.engines.worked import WorkedEngine

        return WorkedEngine()
    return connect(options) if engine == "openai" else _local(options)


def _refuse_unused(engine: EngineName, options: EngineOptions) -> None:
    default = EngineOptions()
    for name in _UNUSED[engine]:
        if getattr(options, name) != getattr(default, name):
            raise SettingError(
                name,
                found=f"it with {setting('engine', engine)}, which does not use it",
                needed=f"another {setting('engine')}",
                remedy="name one, or leave it out",
            )


def connect(options: EngineOptions) -> OpenAIEngine:
    """The engine of a server; raises as `make_engine`."""
    from unspoken.teach.engines.openai import OpenAIEngine

    if options.base_url is None:
        raise SettingError(
            "base_url",
            found="nothing",
            needed=f"the server's address for {setting('engine', 'openai')}",
            remedy="give it, such as http://localhost:8000/v1",
        )
    if options.prompt == "trained":
        raise SettingError(
            "prompt",
            found=f"trained with {setting('engine', 'openai')}",
            needed="auto, chat or plain",
            remedy="give one; a model that unspoken trained is asked by "
            f"{setting('engine', 'transformers')}",
        )
    return OpenAIEngine(
        options.base_url,
        options.model or "",
        style="plain" if options.prompt == "plain" else "chat",
        api_key_env=options.api_key_env,
        limits=Limits(
            options.concurrency,
            options.requests_per_minute,
            options.max_cost,
            options.price_prompt,
            options.price_completion,
        ),
    )


def _local(options: EngineOptions) -> Engine:
    from unspoken.teach.engines.transformers import transformers_engine

    if options.teacher_dir is None:
        raise SettingError(
            "teacher_dir",
            found="nothing",
            needed=f"the teacher's model folder for {setting('engine', 'transformers')}",
            remedy=f"give it, or choose {setting('engine', 'openai')} or worked",
        )
    return transformers_engine(
        options.teacher_dir,
        prompt=options.prompt,
        revision=options.revision,
        tokenizer_name=options.tokenizer,
        attn_implementation=options.attn_implementation,
        batch_size=options.batch_size,
        dtype=options.dtype,
        quantization=options.quantization,
        trust_remote_code=options.trust_remote_code,
    )
