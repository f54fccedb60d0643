"""How long models take for one question alone: several take turns, question by question.

Where all of them fit into memory, they stay there and each question is asked of one after the
other, so that whatever else the machine does meets all of them alike. Where not, they are loaded in
six turns, as many as an interval needs, and asked some questions each time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from unspoken.common.memory import free_memory, release_models
from unspoken.common.out_of_memory import is_out_of_memory
from unspoken.measure.decode import Decoder, Draws

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from unspoken.common.progress import AnswersBar

#: From so many tokens of single questions on, decoding prepares itself before they are timed.
_TOKENS_TO_PREPARE_FOR = 512
#: Of the time for one model, its warming up may take this share.
_SHARE_TO_WARM_UP = 0.1
#: Models that do not fit into memory together are loaded so many times.
_NUM_TURNS = 6
#: Another model is loaded beside the others while so many times the largest one are free.
_ROOM = 2.0


class Asked(NamedTuple):
    """One question that was asked alone.

    Attributes:
        seconds: until its answer was there.
        num_tokens: of the answer.
    """

    seconds: float
    num_tokens: int


class Taken(NamedTuple):
    """What taking turns gave.

    Attributes:
        models: name -> the same questions, in their order.
        turns: how many questions one model was asked before it was the next one's turn, for each
            turn; None: one, all models being in memory.
    """

    models: dict[str, list[Asked]]
    turns: list[int] | None


class SingleQuestions:
    """One loaded model, asked one question at a time.

    Attributes:
        num_questions: that it can be asked.
        num_bytes: of its weights.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        prompts: Sequence[Sequence[int]],
        *,
        eos_token_id: int | Sequence[int],
        pad_token_id: int,
        max_new_tokens: int,
        draws: Draws | None = None,
    ) -> None:
        """A model and the questions to come.

        Args:
            model: in evaluation mode.
            prompts: token ids, at least one prompt.
            eos_token_id, pad_token_id: as `Decoder` takes them.
            max_new_tokens: limit per answer.
            draws: temperature and seeds, one for each prompt; None is greedy.
        """
        prepares = len(prompts) * max_new_tokens >= _TOKENS_TO_PREPARE_FOR
        self._decoder = Decoder(
            model,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            batch_size=1,
            patience=0 if prepares else 1,
        )
        self._prompts, self._limit, self._draws = prompts, max_new_tokens, draws
        self.num_questions, self.num_bytes = len(prompts), _size(model)

    def warm_up(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """Asks the first question twice: steps are recorded at the first, reading at the second.

        Args:
            seconds: after which it is broken off.
            stopping: ends it, too.
        """
        begin = time.perf_counter()
        for _ in range(2):
            self.ask(0, lambda: stopping() or time.perf_counter() - begin > seconds)

    def ask(
        self,
        number: int,
        stopping: Callable[[], bool] = lambda: False,
        wrote: Callable[[int], None] = lambda num_tokens: None,
    ) -> Asked | None:
        """Asks the question of this number; None where `stopping` came first."""
        draws = self._draws
        if draws is not None:
            draws = draws._replace(seeds=draws.seeds[number : number + 1])
        begin = time.perf_counter()
        found = list(
            self._decoder.stream(
                self._prompts[number : number + 1],
                self._limit,
                draws=draws,
                stopping=stopping,
                wrote=wrote,
            )
        )
        seconds = time.perf_counter() - begin
        return Asked(seconds, found[0][1].num_tokens) if found else None


def take_turns(
    loaders: Mapping[str, Callable[[], SingleQuestions]],
    num_questions: int,
    seconds: float,
    *,
    bar: AnswersBar,
    stopping: Callable[[], bool] = lambda: False,
    beside: bool | None = None,
) -> Taken:
    """Asks every model the same questions, one at a time, another model first each time.

    Args:
        loaders: name -> loads the model; its questions are the same as the others'.
        num_questions: at the most.
        seconds: for each model, warming up and loading left out; after them no question is begun.
            One is asked in any case, of models that are loaded in turns one in each turn.
        bar: of `num_questions` times as many answers as there are models.
        stopping: asked between tokens, and before a model is loaded.
        beside: whether all models are held in memory; None: as memory allows.

    Returns:
        What all models were asked; less, or nothing, once `stopping` says yes.
    """
    models = {} if beside is False else _load_all(loaders, stopping, is_wanted=beside is True)
    is_beside = len(models) == len(loaders)
    num_turns = num_questions if is_beside else min(num_questions, _NUM_TURNS)
    timer = _Timer(num_questions, seconds, bar, stopping)
    for model in models.values():
        timer.warm_up(model)
    names = list(loaders)
    for turn, numbers in enumerate(_split(num_questions, num_turns)):
        if stopping() or (is_beside and turn and timer.spent > seconds * len(names)):
            break
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            if is_beside:
                timer.ask(name, models[name], numbers)
            else:
                timer.load_and_ask(name, loaders[name], numbers)
        timer.end_turn()
    return Taken(timer.models, None if is_beside else timer.turns)


def _split(count: int, num_parts: int) -> list[range]:
    """The numbers below `count` in so many parts whose sizes differ by one at the most."""
    ends = [count * part // num_parts for part in range(1, num_parts + 1)]
    return [range(start, end) for start, end in itertools.pairwise([0, *ends])]


class _Timer:
    """Asks models and keeps what they were asked.

    Attributes:
        models: name -> what every one of them was asked, in the turns that have ended.
        turns: how many of them in each turn.
        spent: seconds of all questions.
    """

    def __init__(
        self, num_questions: int, seconds: float, bar: AnswersBar, stopping: Callable[[], bool]
    ) -> None:
        self.models: dict[str, list[Asked]] = {}
        self.turns: list[int] = []
        self.spent = 0.0
        self._num_questions, self._seconds = num_questions, seconds
        self._bar, self._stopping = bar, stopping
        self._turn: dict[str, list[Asked]] = {}

    def warm_up(self, model: SingleQuestions) -> None:
        model.warm_up(self._seconds * _SHARE_TO_WARM_UP, self._stopping)

    def ask(self, name: str, model: SingleQuestions, numbers: range) -> None:
        """Asks these questions, or as many as this model's share of the time allows."""
        share = self._seconds * len(numbers) / self._num_questions
        found = self._turn[name] = []
        own = 0.0
        for number in numbers:
            if found and own > share:
                break
            asked = model.ask(number, self._stopping, self._bar.add_tokens)
            if asked is None:
                return
            found.append(asked)
            own += asked.seconds
            self.spent += asked.seconds
            self._bar.add_answers()

    def load_and_ask(self, name: str, load: Callable[[], SingleQuestions], numbers: range) -> None:
        """The same of a model that is loaded for it, and gone afterwards."""
        if self._stopping():
            self._turn[name] = []
            return
        model = load()
        self.warm_up(model)
        self.ask(name, model, numbers)
        del model
        release_models()

    def end_turn(self) -> None:
        """Keeps the questions that all models were asked."""
        count = min(map(len, self._turn.values()))  # fewer where they were stopped
        for name, found in self._turn.items():
            self.models.setdefault(name, []).extend(found[:count])
        self.turns.append(count)
        self._turn = {}


def _load_all(
    loaders: Mapping[str, Callable[[], SingleQuestions]],
    stopping: Callable[[], bool],
    *,
    is_wanted: bool,
) -> dict[str, SingleQuestions]:
    """All models, or none where there is no room for them beside each other, or it is stopped."""
    models: dict[str, SingleQuestions] = {}
    for name in loaders:
        largest = max((model.num_bytes for model in models.values()), default=0)
        free = free_memory()
        if stopping() or (not is_wanted and free is not None and free < _ROOM * largest):
            break
        try:
            models[name] = loaders[name]()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            break
    else:
        return models
    models.clear()
    release_models()
    return models


def _size(model: PreTrainedModel | PeftModel) -> int:
    """Bytes of the weights."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())
