"""Model + examples -> predictions and metrics: accuracy against tokens written and time spent."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import model_validator

from unspoken import recipe
from unspoken.common.errors import DataError, SettingError, setting, shorten
from unspoken.common.files import refuse_existing
from unspoken.common.interrupt import Interrupted, StopRequest
from unspoken.common.locks import locked
from unspoken.common.progress import AnswersBar
from unspoken.common.settings import (
    Natural,
    Positive,
    PositiveNumber,
    Seed,
    Share,
    Temperature,
    checked,
)
from unspoken.data.example import Example
from unspoken.data.jsonl import write_jsonl
from unspoken.measure.decode import Completion, Decoder, Draws, most_new_tokens
from unspoken.measure.grade import gold_choice
from unspoken.measure.latency import SingleQuestions, take_turns
from unspoken.measure.only_choices import ChoiceDecoder
from unspoken.measure.partial import PartialPredictions, fingerprint_of
from unspoken.measure.predictions import Metrics, Prediction, judge, summarize, with_latencies
from unspoken.measure.sampling import Sampling, seed_of
from unspoken.models.adapter import require_adapter
from unspoken.models.card import DEFAULT_LIMIT, ModelCard
from unspoken.models.load import dtype_for_asking, load_model, load_tokenizer
from unspoken.models.template import Template, encode_prompts, unknown_signs
from unspoken.recipe.choices import Labels
from unspoken.recipe.sections import TemplateName

if TYPE_CHECKING:
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

#: Of several processes, so many batches are asked for before they tell each other.
_BATCHES_AT_ONCE = 4


@checked
class EvaluateOptions:
    """How a model is asked, and how often.

    Attributes:
        max_new_tokens: limit per answer; None: what the model's unspoken.json says, else 256.
        batch_size: answers decoded together.
        num_latency: so many of the questions are asked again, one at a time, and timed: by
            `evaluate_folder`, once the predictions are written.
        latency_seconds: after so many of them no further question is timed.
        num_samples: answers to each question; more than one needs a temperature.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens with this much probability together.
        seed: what is drawn follows from it, the place of the question and the sample's number.
        choices: the only answers that there are: an answer counts as the one that it names. None:
            those that the model learned, if it learned some. Prompts name them, but those of a
            model that unspoken trained without.
        only_choices: where an answer is not one of them as they stand, the model answers again and
            can write nothing else; not where single questions are timed.

    Raises:
        SettingError: for values that make no sense.
    """

    max_new_tokens: Positive | None = None
    batch_size: Positive = 64
    num_latency: Natural = 0
    latency_seconds: PositiveNumber = 20.0
    num_samples: Positive = 1
    temperature: Temperature = 0.0
    top_p: Share = 1.0
    seed: Seed = 0
    choices: Labels | None = None
    only_choices: bool = False

    @model_validator(mode="after")
    def _samples_that_can_be(self) -> EvaluateOptions:
        self.sampling().require_samples(self.num_samples)
        return self

    def sampling(self, limit: int = DEFAULT_LIMIT) -> Sampling:
        """How the next token is chosen; `limit` where `max_new_tokens` is None."""
        return Sampling(self.max_new_tokens or limit, self.temperature, self.top_p, self.seed)


def evaluate(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    examples: Sequence[Example],
    options: EvaluateOptions,
    *,
    partial: PartialPredictions | None = None,
    process: PartialState | AcceleratorState | None = None,
    stopping: Callable[[], bool] = lambda: False,
    progress: str | None = None,
    delay: float = 0.0,
) -> tuple[list[Prediction], Metrics]:
    """Predictions, in the order of the examples, and what they amount to.

    Longest prompts are asked first, so that a batch that does not fit into memory fails at once.
    Several processes share the questions out and end up with the same predictions.

    Args:
        model, tokenizer, template: as they were trained together.
        examples: questions with gold answers; thoughts are not looked at.
        options: how they are asked.
        partial: where batches are kept, and what it holds is not asked again; the main process'
            counts.
        process: where all processes call this; None: alone.
        stopping: asked between tokens; once it says yes in any process, all of them stop.
        progress: description of a progress bar; None shows none.
        delay: seconds before it is drawn.

    Raises:
        Interrupted: because of `stopping`.
    """
    asker = _Asker(model, tokenizer, template, examples, options)
    partial = partial or PartialPredictions()
    _ask_missing(asker, partial, process=process, stopping=stopping, progress=progress, delay=delay)
    predictions = [partial.predictions[place] for place in range(len(asker.samples))]
    metrics = summarize(predictions, partial.seconds, options.batch_size, asker.choices)
    return predictions, metrics


def _require_positions(
    model: PreTrainedModel | PeftModel, prompts: Sequence[list[int]], examples: Sequence[Example]
) -> None:
    """Checks that the shortest prompt has a token and the longest leaves a position for an answer.

    Raises:
        DataError: it is not so, with the question.
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for index in {*order[:1], *order[-1:]}:
        try:
            most_new_tokens(model, len(prompts[index]), 1)
        except DataError as error:
            named = examples[index].id or f"question {index + 1}"
            question = shorten(examples[index].question)
            raise DataError(f"{named} ({question}): {error.args[0]}") from None


class _Asker:
    """A model that is asked for samples; a sample's place is its number among all of them.

    Attributes:
        samples: index of the question and number of the sample, at each place.
        batch_size: samples at once, in each process.
        choices: the only answers that there are.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        examples: Sequence[Example],
        options: EvaluateOptions,
    ) -> None:
        self.samples = [(i, k) for i in range(len(examples)) for k in range(options.num_samples)]
        self.batch_size = options.batch_size
        self._examples = examples
        self._tokenizer: Any = tokenizer
        texts = [template.prompt(example.question) for example in examples]
        self._prompts = encode_prompts(texts, tokenizer, template)
        _require_positions(model, self._prompts, examples)
        self._sampling = options.sampling()
        self._decoder = Decoder(
            model,
            eos_token_id=self._tokenizer.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
            batch_size=self.batch_size,
        )
        self.choices = options.choices or template.choices
        self._only: ChoiceDecoder | None = None
        if options.only_choices:
            if not self.choices:
                raise SettingError(
                    "only_choices",
                    found="it without choices",
                    needed=f"the only answers that there are, in {setting('choices')}",
                    remedy="name them, or leave it out",
                )
            self._only = ChoiceDecoder(self._decoder, tokenizer, template, self.choices)

    def longest_first(self) -> list[int]:
        """All places, those with the longest prompts first."""
        lengths = [len(self._prompts[index]) for index, _ in self.samples]
        return sorted(range(len(lengths)), key=lambda place: lengths[place], reverse=True)

    def ask(
        self,
        places: Sequence[int],
        *,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[dict[int, Prediction], float]]:
        """Yields batches of the predictions at these places, and the seconds that each took.

        Args:
            places: where they are wanted; they come in any order.
            stopping: asked between tokens; once it says yes, the rest is left out.
            wrote: told how many tokens were written.
        """
        begin = time.perf_counter()
        completions = self._complete(places, stopping, wrote)
        while batch := dict(islice(completions, self.batch_size)):
            batch = self._settled(batch, stopping)
            seconds = time.perf_counter() - begin
            yield {place: self._judge(place, found) for place, found in batch.items()}, seconds
            begin = time.perf_counter()

    def _settled(
        self, batch: dict[int, Completion], stopping: Callable[[], bool]
    ) -> dict[int, Completion]:
        """The completions, each with one of the choices where nothing else is allowed."""
        if self._only is None:
            return batch
        places = list(batch)
        chosen = [self.samples[place] for place in places]
        prompts = [self._prompts[index] for index, _ in chosen]
        draws = _draws(self._sampling, chosen)
        settled = self._only.settle(prompts, list(batch.values()), draws, stopping)
        return batch | {places[number]: found for number, found in settled}

    def _complete(
        self,
        places: Sequence[int],
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        chosen = [self.samples[place] for place in places]
        found = self._decoder.stream(
            [self._prompts[index] for index, _ in chosen],
            self._sampling.max_new_tokens,
            draws=_draws(self._sampling, chosen),
            stopping=stopping,
            wrote=wrote,
        )
        return ((places[number], completion) for number, completion in found)

    def _judge(self, place: int, completion: Completion) -> Prediction:
        index, sample = self.samples[place]
        return judge(
            self._examples[index],
            self._tokenizer.decode(completion.token_ids, skip_special_tokens=True),
            num_prompt_tokens=len(self._prompts[index]),
            num_tokens=completion.num_tokens,
            stopped=completion.stopped,
            sample=sample,
            choices=self.choices,
        )


def _ask_missing(
    asker: _Asker,
    partial: PartialPredictions,
    *,
    process: PartialState | AcceleratorState | None,
    stopping: Callable[[], bool],
    progress: str | None,
    delay: float,
) -> None:
    """Adds what `partial` does not have yet of all samples, batch by batch."""
    rank, world = (0, 1) if process is None else (process.process_index, process.num_processes)
    if world > 1:
        _share_known(partial)
    missing = [place for place in asker.longest_first() if place not in partial.predictions]
    done, wanted = len(asker.samples) - len(missing), progress if rank == 0 else None
    # alone, batches are kept one by one anyway
    size = asker.batch_size * _BATCHES_AT_ONCE * world if world > 1 else max(1, len(missing))
    with AnswersBar(len(asker.samples), done, wanted, "answer", delay=delay) as bar:
        for start in range(0, len(missing), size):
            places = missing[start : start + size]
            own = places[rank::world]  # of like length
            batches = asker.ask(own, stopping=stopping, wrote=bar.add_tokens)
            for batch, seconds in batches if world == 1 else [_gathered(list(batches))]:
                partial.add(batch, seconds)
                bar.add_answers(len(batch))
            if not all(place in partial.predictions for place in places):
                raise Interrupted


def _share_known(partial: PartialPredictions) -> None:
    """Gives all processes what the main one has from before."""
    from accelerate.utils import broadcast_object_list

    known: list[Any] = [partial.predictions, partial.seconds]
    broadcast_object_list(known)
    partial.predictions.update(known[0])
    partial.seconds = known[1]


def _gathered(
    shares: Sequence[tuple[dict[int, Prediction], float]],
) -> tuple[dict[int, Prediction], float]:
    """The batches of all processes as one, and the slowest's time."""
    from accelerate.utils import gather_object

    own = {place: found for batch, _ in shares for place, found in batch.items()}
    batches, times = zip(*gather_object([(own, sum(time for _, time in shares))]), strict=True)
    return {k: v for batch in batches for k, v in batch.items()}, max(times)


def evaluate_folder(
    model: recipe.Model,
    examples: Sequence[Example],
    output: Path,
    options: EvaluateOptions | None = None,
    *,
    adapter: str | None = None,
    template: TemplateName | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    process: PartialState | None = None,
    progress: str | None = None,
) -> dict[str, Any]:
    """Predictions of a saved model, written to `output`; returns the figures.

    Finished batches are kept beside the output until all are there: after a crash the same call
    goes on from them, with any number of processes. The main one writes, and then times single
    questions; Ctrl-C ends that, and what was timed up to then counts.

    Args:
        model: the name is a folder or hub name, of a model or of an adapter.
        examples: questions, with gold answers where there are some.
        output: JSONL, one `Prediction` a line.
        options: how the model is asked.
        adapter: folder of a PEFT adapter that is laid over `model`, whatever base it names.
        template: default what unspoken.json says, the adapter's before the model's, else plain.
        dtype: of the weights; auto: bfloat16 where this machine is faster with it, else float32.
        overwrite: replace `output`.
        process, progress: as in `evaluate`.

    Raises:
        ModelError: the model or the adapter is not there, or they do not fit.
        DataError: there are no examples, or another process writes to `output`.
        OutputExistsError: `output` exists and `overwrite` is false.
    """
    is_main = process is None or process.is_main_process
    if is_main:
        refuse_existing([output], overwrite=overwrite)
    if not examples:
        raise DataError("found no questions; needed: at least one; give a file with some")
    if adapter is not None:
        require_adapter(adapter, model.name)
    options, form = _completed(options or EvaluateOptions(), template, model, adapter)
    _require_choices(examples, options.choices)
    if dtype == "auto":
        dtype = _same_for_all(dtype_for_asking(model), process)
    deciding = {**_deciding(options), **form._asdict(), "dtype": dtype}
    fingerprint = functools.partial(fingerprint_of, model, adapter, examples, deciding)
    kept = _batches_beside(output, fingerprint) if is_main else PartialPredictions()
    with kept as partial:
        loaded, tokenizer = _load(model, adapter, dtype)
        rendered = form.of(tokenizer)
        if is_main:
            warn_of_unknown_signs(examples, tokenizer, rendered)
        predictions, metrics = evaluate(
            loaded,
            tokenizer,
            rendered,
            examples,
            options,
            partial=partial,
            process=process,
            progress=progress,
        )
        if is_main:
            records = (prediction.to_json(options.num_samples) for prediction in predictions)
            write_jsonl(output, records, overwrite=overwrite)
        partial.remove()
    if is_main and options.num_latency:
        alone = _single_questions(loaded, tokenizer, rendered, examples, options)
        metrics = with_latencies(metrics, _timed(alone, options, progress))
    return {**metrics.to_json(), "dtype": dtype}


def warn_of_unknown_signs(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, template: Template
) -> None:
    """Says how many questions have signs that the model cannot read; it is asked them all."""
    read = [
        set(example.question).intersection(template.prompt(example.question))
        for example in examples
    ]
    unknown = set(unknown_signs(tokenizer, "".join(sorted(set().union(*read)))))
    found = [number for number, signs in enumerate(read) if signs & unknown]
    if found:
        strange = sorted(read[found[0]] & unknown)
        logger.warning(
            "%s of %s questions have signs that the model has no token for, such as %s in %s; they "
            "are asked, but it cannot tell these signs from others",
            f"{len(found):,}", f"{len(examples):,}", " ".join(map(repr, strange[:8])),
            shorten(examples[found[0]].question),
        )  # fmt: skip


@contextlib.contextmanager
def _batches_beside(output: Path, fingerprint: Callable[[], str]) -> Iterator[PartialPredictions]:
    """Finished batches in a file beside the output, which no other process writes meanwhile.

    Args:
        output: for all predictions.
        fingerprint: of what decides them; asked once the output is this process's.

    Raises:
        DataError: another process writes to `output`.
    """
    with (
        locked(output),
        PartialPredictions(output.with_name(f".{output.name}.partial"), fingerprint()) as partial,
    ):
        yield partial


def _require_choices(examples: Sequence[Example], choices: Sequence[str] | None) -> None:
    """Refuses gold answers that are none of the choices, before any question is asked."""
    for example in examples if choices else ():
        if choices and example.answer.strip():
            where = f"question {shorten(example.question)}: answer"
            gold_choice(example.answer, choices, where)


def _same_for_all(dtype: str, process: PartialState | None) -> str:
    """What the main process says; all must call it."""
    if process is None or process.num_processes == 1:
        return dtype
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([dtype])[0]


def load_single_questions(
    model: recipe.Model,
    examples: Sequence[Example],
    options: EvaluateOptions,
    *,
    template: TemplateName | None,
    dtype: str,
) -> SingleQuestions:
    """A saved model, ready to be asked the first `num_latency` questions one at a time.

    The arguments are those of `evaluate_folder`, which raises the same.
    """
    options, form = _completed(options, template, model, None)
    dtype = dtype_for_asking(model) if dtype == "auto" else dtype
    loaded, tokenizer = _load(model, None, dtype)
    return _single_questions(loaded, tokenizer, form.of(tokenizer), examples, options)


def _load(model: recipe.Model, adapter: str | None, dtype: str) -> tuple[Any, Any]:
    """A saved model and its tokenizer, to be asked."""
    tokenizer = load_tokenizer(_with_tokenizer_of(model, adapter))
    return load_model(model, tokenizer, purpose="ask", adapter=adapter, dtype=dtype), tokenizer


def _single_questions(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    examples: Sequence[Example],
    options: EvaluateOptions,
) -> SingleQuestions:
    """The first `num_latency` questions, to be asked one at a time as `evaluate` asks them."""
    special: Any = tokenizer
    first = examples[: options.num_latency]
    return SingleQuestions(
        model,
        encode_prompts([template.prompt(one.question) for one in first], tokenizer, template),
        eos_token_id=special.eos_token_id,
        pad_token_id=special.pad_token_id,
        max_new_tokens=options.sampling().max_new_tokens,
        draws=_draws(options.sampling(), [(index, 0) for index in range(len(first))]),
    )


def _timed(alone: SingleQuestions, options: EvaluateOptions, progress: str | None) -> list[float]:
    """Seconds of single questions: as many as the time allows, and Ctrl-C."""
    description, number = progress and f"{progress}, one at a time", alone.num_questions
    with AnswersBar(number, 0, description, "answer") as bar, StopRequest() as stop:
        loaders, seconds = {"": lambda: alone}, options.latency_seconds
        taken = take_turns(loaders, number, seconds, bar=bar, stopping=stop.heed, beside=True)
    return [asked.seconds for asked in taken.models.get("", [])]


def _draws(sampling: Sampling, samples: Sequence[tuple[int, int]]) -> Draws | None:
    """What is drawn for these questions and samples; None is greedy."""
    if sampling.temperature == 0:
        return None
    seeds = [seed_of(sampling.seed, f"{index}#{sample}") for index, sample in samples]
    return Draws(sampling.temperature, sampling.top_p, seeds)


class _Form(NamedTuple):
    """A template without its tokenizer."""

    template: TemplateName
    named: tuple[str, ...] | None

    def of(self, tokenizer: PreTrainedTokenizerBase) -> Template:
        return Template(self.template, tokenizer, self.named)


def _completed(
    options: EvaluateOptions,
    template: TemplateName | None,
    model: recipe.Model,
    adapter: str | None,
) -> tuple[EvaluateOptions, _Form]:
    """The options and how questions are put, with what unspoken.json says in place of None."""
    card = (ModelCard.read(adapter) if adapter else None) or ModelCard.read(str(model.name))
    limit = card.max_new_tokens if card else DEFAULT_LIMIT
    learned = card.choices if card else options.choices  # a model is asked as it was trained
    options = replace(
        options,
        max_new_tokens=options.max_new_tokens or limit,
        choices=options.choices or learned,
    )
    return options, _Form(template or (card.template if card else "plain"), learned)


def _deciding(options: EvaluateOptions) -> dict[str, Any]:
    """The options that decide what is written; the others decide how fast."""
    fast = ("batch_size", "num_latency", "latency_seconds")
    return {name: value for name, value in asdict(options).items() if name not in fast}


def _with_tokenizer_of(model: recipe.Model, adapter: str | None) -> recipe.Model:
    """The model's settings, with the tokenizer that training saved with the adapter, if it did."""
    names = ("tokenizer.json", "tokenizer_config.json")
    if adapter and model.tokenizer is None and any((Path(adapter) / n).is_file() for n in names):
        return model.model_copy(update={"tokenizer": adapter})
    return model
