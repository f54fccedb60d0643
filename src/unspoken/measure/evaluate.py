"""Model + examples -> predictions and metrics: accuracy against tokens written and time spent."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unspoken import recipe
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.common.files import refuse_existing
from unspoken.common.interrupt import Interrupted
from unspoken.common.locks import locked
from unspoken.common.progress import bar_intervals
from unspoken.data.example import Example
from unspoken.data.jsonl import write_jsonl
from unspoken.measure.decode import Completion, Draws, decode
from unspoken.measure.partial import PartialPredictions, fingerprint_of
from unspoken.measure.predictions import Metrics, Prediction, judge, summarize
from unspoken.measure.sampling import Sampling, seed_of
from unspoken.models.template import Template, encode_prompts
from unspoken.recipe.sections import TemplateName


def evaluate(
    model: Any,
    tokenizer: Any,
    template: Template,
    examples: Sequence[Example],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    num_latency: int = 0,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    partial: PartialPredictions | None = None,
    process: Any = None,
    stopping: Callable[[], bool] = lambda: False,
    progress: str | None = None,
) -> tuple[list[Prediction], Metrics]:
    """Predictions, in the order of the examples, and what they amount to.

    Longest prompts are asked first, so that a batch that does not fit into memory fails at once.
    Several processes share the questions out and end up with the same predictions; the main one
    times single questions.

    Args:
        model, tokenizer, template: as they were trained together.
        examples: questions with gold answers; thoughts are not looked at.
        max_new_tokens: limit per answer.
        batch_size: answers decoded together.
        num_latency: so many of the questions are asked again, one at a time, and timed.
        num_samples: answers to each question; more than one needs a temperature.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens with this much probability together.
        seed: what is drawn follows from it, the place of the question and the sample's number.
        partial: where batches are kept, and what it holds is not asked again; the main process'
            counts.
        process: Accelerate's PartialState, where all processes call this; None: alone.
        stopping: asked after each batch; once it says yes in any process, all of them stop.
        progress: description of a progress bar; None shows none.

    Raises:
        Interrupted: because of `stopping`.
    """
    texts = [template.prompt(example.question) for example in examples]
    prompts = encode_prompts(texts, tokenizer, template)
    asker = _Asker(model, tokenizer, prompts, Sampling(max_new_tokens, temperature, top_p, seed))
    wanted = [(index, sample) for index in range(len(prompts)) for sample in range(num_samples)]
    partial = partial or PartialPredictions()
    _ask_missing(
        asker,
        examples,
        wanted,
        partial,
        batch_size=batch_size,
        process=process,
        stopping=stopping,
        progress=progress,
    )
    predictions = [partial.predictions[place] for place in range(len(wanted))]
    is_main = process is None or process.is_main_process
    alone = [(index, 0) for index in range(len(prompts))][: num_latency if is_main else 0]
    latencies = [asker([one])[1] for one in [*alone[:1], *alone]][1:]  # the first one warms up
    return predictions, summarize(predictions, partial.seconds, batch_size, latencies)


@dataclass(frozen=True)
class _Asker:
    """Asks for samples, each an (index of the prompt, number of the sample), and takes the time."""

    model: Any
    tokenizer: Any
    prompts: list[list[int]]
    sampling: Sampling

    def __call__(self, wanted: Sequence[tuple[int, int]]) -> tuple[list[Completion], float]:
        """What is written for them, in one batch, and the seconds."""
        draws = None
        if self.sampling.temperature > 0:
            seeds = [seed_of(self.sampling.seed, f"{index}#{sample}") for index, sample in wanted]
            draws = Draws(self.sampling.temperature, self.sampling.top_p, seeds)
        begin = time.perf_counter()
        completions = decode(
            self.model,
            [self.prompts[index] for index, _ in wanted],
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            max_new_tokens=self.sampling.max_new_tokens,
            batch_size=len(wanted),
            draws=draws,
        )
        return completions, time.perf_counter() - begin

    def text(self, completion: Completion) -> str:
        """What a completion says."""
        return self.tokenizer.decode(completion.token_ids, skip_special_tokens=True)


def _ask_missing(
    asker: _Asker,
    examples: Sequence[Example],
    wanted: Sequence[tuple[int, int]],
    partial: PartialPredictions,
    *,
    batch_size: int,
    process: Any,
    stopping: Callable[[], bool],
    progress: str | None,
) -> None:
    """Adds what `partial` does not have yet of what is wanted, one batch a process at a time."""
    rank, world = (0, 1) if process is None else (process.process_index, process.num_processes)
    if world > 1:
        _share_known(partial)
    lengths = [len(asker.prompts[index]) for index, _ in wanted]
    order = sorted(range(len(wanted)), key=lambda place: lengths[place], reverse=True)
    missing = [place for place in order if place not in partial.predictions]
    with tqdm(
        total=len(wanted),
        initial=len(wanted) - len(missing),
        desc=progress,
        disable=progress is None or rank > 0,
        leave=False,
        **bar_intervals(),
    ) as bar:
        for start in range(0, len(missing), batch_size * world):
            places = missing[start : start + batch_size * world]
            mine = places[rank::world]  # of like length
            batch, seconds = {}, 0.0
            if mine:
                completions, seconds = asker([wanted[place] for place in mine])
                for place, completion in zip(mine, completions, strict=True):
                    index, sample = wanted[place]
                    batch[place] = judge(
                        examples[index],
                        asker.text(completion),
                        num_prompt_tokens=lengths[place],
                        num_tokens=completion.num_tokens,
                        stopped=completion.stopped,
                        sample=sample,
                    )
            is_asked = stopping()
            if world > 1:
                batch, seconds, is_asked = _gathered(batch, seconds, is_asked)
            partial.add(batch, seconds)
            bar.update(len(places))
            if is_asked and start + len(places) < len(missing):
                raise Interrupted


def _share_known(partial: PartialPredictions) -> None:
    """Gives all processes what the main one has from before."""
    from accelerate.utils import broadcast_object_list

    known: list[Any] = [partial.predictions, partial.seconds]
    broadcast_object_list(known)
    partial.predictions.update(known[0])
    partial.seconds = known[1]


def _gathered(
    batch: dict[int, Prediction], seconds: float, is_asked: bool
) -> tuple[dict[int, Prediction], float, bool]:
    """The batches of all processes as one, the slowest's time, whether any is asked to stop."""
    from accelerate.utils import gather_object

    batches, times, wishes = zip(*gather_object([(batch, seconds, is_asked)]), strict=True)
    return {k: v for own in batches for k, v in own.items()}, max(times), any(wishes)


def evaluate_folder(
    model: recipe.Model,
    examples: Sequence[Example],
    output: Path,
    *,
    adapter: str | None = None,
    template: TemplateName | None = None,
    dtype: str = "float32",
    max_new_tokens: int | None = None,
    batch_size: int = 64,
    num_latency: int = 0,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    overwrite: bool = False,
    process: Any = None,
    progress: str | None = None,
) -> dict[str, Any]:
    """Predictions of a saved model, written to `output`; returns the figures.

    Finished batches are kept beside the output until all are there: after a crash the same call
    goes on from them, with any number of processes. The main one writes.

    Args:
        model: the name is a folder or hub name, of a model or of an adapter.
        examples: questions, with gold answers where there are some.
        output: JSONL, one `Prediction` a line.
        adapter: folder of a PEFT adapter that is laid over `model`, whatever base it names.
        template: default what unspoken.json says, the adapter's before the model's, else plain.
        dtype: of the weights.
        max_new_tokens: default what unspoken.json says, else 256.
        batch_size, num_latency, num_samples, temperature, top_p, seed: as in `evaluate`.
        process, progress: as in `evaluate`.
        overwrite: replace `output`.

    Raises:
        RecipeError: settings that make no sense.
        ModelError: the model or the adapter is not there, or they do not fit.
        DataError: there are no examples, or another process writes to `output`.
        OutputExistsError: `output` exists and `overwrite` is false.
    """
    from unspoken.models.card import ModelCard

    is_main = process is None or process.is_main_process
    if is_main:
        refuse_existing([output], overwrite=overwrite)
    if not examples:
        raise DataError("found no questions; needed: at least one; give a file with some")
    if adapter is not None:
        _require_adapter(adapter, model)
    card = (ModelCard.read(adapter) if adapter else None) or ModelCard.read(str(model.name))
    template = template or (card.template if card else "plain")
    if max_new_tokens is None:
        max_new_tokens = card.max_new_tokens if card else 256
    sampling = {"temperature": temperature, "top_p": top_p, "seed": seed}
    asking = {"max_new_tokens": max_new_tokens, "num_samples": num_samples, **sampling}
    _check({**asking, "batch_size": batch_size, "num_latency": num_latency})
    settings = {**asking, "template": template, "dtype": dtype}
    fingerprint = fingerprint_of(model, adapter, examples, settings)
    partial_file = output.with_name(f".{output.name}.partial")
    with contextlib.ExitStack() as stack:
        if is_main:
            stack.enter_context(locked(output))
        kept = PartialPredictions(partial_file, fingerprint) if is_main else PartialPredictions()
        partial = stack.enter_context(kept)
        loaded, tokenizer = _load(model, adapter, dtype)
        predictions, metrics = evaluate(
            loaded,
            tokenizer,
            Template(template, tokenizer),
            examples,
            batch_size=batch_size,
            num_latency=num_latency,
            partial=partial,
            process=process,
            progress=progress,
            **asking,
        )
        if is_main:
            records = (prediction.to_json(num_samples) for prediction in predictions)
            write_jsonl(output, records, overwrite=overwrite)
        partial.remove()
    return metrics.to_json()


def _check(settings: dict[str, Any]) -> None:
    rules = {
        "max_new_tokens": (lambda value: value >= 1, "at least 1"),
        "batch_size": (lambda value: value >= 1, "at least 1"),
        "num_latency": (lambda value: value >= 0, "at least 0"),
        "num_samples": (lambda value: value >= 1, "at least 1"),
        "temperature": (lambda value: 0 <= value < math.inf, "at least 0"),
        "top_p": (lambda value: 0 < value <= 1, "above 0, at most 1"),
    }
    for name, (fine, needed) in rules.items():
        if not fine(settings[name]):
            raise RecipeError(f"--{name}: found {settings[name]}; needed: {needed}; correct it")
    if settings["temperature"] > 0:
        return
    if settings["num_samples"] > 1:
        raise RecipeError(
            f"--num_samples: found {settings['num_samples']} with --temperature 0, which makes "
            "them all the same; needed: a temperature above 0, such as 0.7; set it"
        )
    if settings["top_p"] < 1:
        raise RecipeError(
            f"--top_p: found {settings['top_p']} with --temperature 0, which does not look at it; "
            "needed: a temperature above 0, such as 0.7; set it, or leave --top_p out"
        )


def _require_adapter(adapter: str, model: recipe.Model) -> None:
    from unspoken.models.adapter import is_adapter

    folder = Path(adapter)
    weights = ("adapter_model.safetensors", "adapter_model.bin")
    if not is_adapter(adapter) or not any((folder / name).is_file() for name in weights):
        name = weights[0] if is_adapter(adapter) else "adapter_config.json"
        found = f"no {name} in it" if folder.is_dir() else "no such folder"
        raise ModelError(
            f"--lora_model {adapter}: found {found}; needed: the folder of a LoRA adapter; correct "
            "the path, or, for a whole model, name it as --base_model alone"
        )
    if is_adapter(model.name):
        raise ModelError(
            f"--base_model {model.name}: found an adapter, with --lora_model besides; needed: the "
            "whole model below it; name that, or leave --lora_model out"
        )


def _load(model: recipe.Model, adapter: str | None, dtype: str) -> tuple[Any, Any]:
    """The model, on the device that answers, and its tokenizer."""
    import torch

    from unspoken.models.load import load_model, load_tokenizer

    settings = model
    names = ("tokenizer.json", "tokenizer_config.json")
    if adapter and model.tokenizer is None and any((Path(adapter) / n).is_file() for n in names):
        settings = model.model_copy(update={"tokenizer": adapter})
    tokenizer = load_tokenizer(settings)
    loaded = load_model(model, tokenizer, dtype=dtype)
    if adapter is not None:
        loaded = _with_adapter(loaded, adapter, model)
    if model.quantization is None:
        loaded.to("cuda" if torch.cuda.is_available() else "cpu")
    return loaded, tokenizer


def _with_adapter(loaded: Any, adapter: str, model: recipe.Model) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(loaded, adapter)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise
        first = " ".join(str(error).split())[:300]
        raise ModelError(
            f"--lora_model {adapter}: cannot be laid over {model.name}: {first} - needed: an "
            "adapter of this very model; name the model that it was trained on as --base_model"
        ) from error
