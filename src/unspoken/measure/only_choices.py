"""Answers that can only be one of the choices: a model that did not give one answers once more.

A completion whose answer is a choice as it stands is what constrained decoding would have written,
too. The others are cut off where their answer begins, and the model goes on from there with
nothing to write but one of the choices: the likeliest token after token, or, where tokens are
drawn, a choice by its whole probability among the choices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unspoken.data.example import Example
from unspoken.measure.decode import Completion, Decoder, Draws
from unspoken.measure.sampling import seed_of
from unspoken.models.load import num_positions
from unspoken.models.template import Template, token_ids


class ChoiceDecoder:
    """A decoder of which every answer is one of the choices."""

    def __init__(
        self, decoder: Decoder, tokenizer: Any, template: Template, choices: Sequence[str]
    ) -> None:
        """A decoder for prompts of this template.

        Args:
            decoder: what asks the model.
            tokenizer, template: of the model.
            choices: two or more.
        """
        self._decoder, self._tokenizer, self._template = decoder, tokenizer, template
        self._texts = [template.spans(Example("", "", label)).answer for label in choices]
        ends = [tokenizer.eos_token_id]
        self._answers = [[*ids, *ends] for ids in token_ids(tokenizer, self._texts)]
        self._longest = max(map(len, self._answers))

    def settle(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Completion],
        draws: Draws | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, Completion]]:
        """Yields the number of each completion that is another now, and the other one.

        Its tokens are those that were kept and those that were written now.

        Args:
            prompts: token ids of what was asked.
            completions: of these prompts.
            draws: as for the completions; what is drawn among the choices knows no `top_p`.
            stopping: asked between steps; once it says yes, nothing more is written.
        """
        texts = self._tokenizer.batch_decode(
            [found.token_ids for found in completions], skip_special_tokens=True
        )
        thoughts = [self._thought(text) for text in texts]
        open_ones = [
            number
            for number, (text, found) in enumerate(zip(texts, completions, strict=True))
            if not (found.stopped and text[len(thoughts[number]) :] in self._texts)
        ]
        kept = token_ids(self._tokenizer, [thoughts[number] for number in open_ones])
        room = num_positions(self._decoder.model)
        if room is not None:
            rooms = [max(0, room - len(prompts[number]) - self._longest) for number in open_ones]
            kept = [ids[:most] for ids, most in zip(kept, rooms, strict=True)]
        begun = [[*prompts[number], *ids] for number, ids in zip(open_ones, kept, strict=True)]
        own = draws and draws._replace(seeds=[draws.seeds[number] for number in open_ones])
        answered = self._answer(begun, own, stopping)
        for place, found in answered:
            ids = [*kept[place], *found.token_ids]
            yield open_ones[place], found._replace(token_ids=ids)

    def _answer(
        self,
        begun: Sequence[Sequence[int]],
        draws: Draws | None,
        stopping: Callable[[], bool],
    ) -> Iterator[tuple[int, Completion]]:
        """Yields one of the choices after each of these beginnings."""
        import torch

        if draws is None:
            yield from self._decoder.stream(
                begun, self._longest, stopping=stopping, allowed=self._next
            )
            return
        for place, (ids, seed) in enumerate(zip(begun, draws.seeds, strict=True)):
            if stopping():
                return
            scores = self._decoder.score(ids, self._answers, draws.temperature)
            # another stream than that of the completion, which this one depends on
            generator = torch.Generator().manual_seed(seed_of(seed, "choice"))
            number = int(torch.multinomial(scores.softmax(0), 1, generator=generator))
            yield place, Completion(self._answers[number][:-1], True, 1)

    def _next(self, written: Sequence[int]) -> list[int]:
        """The tokens that may come after these."""
        size = len(written)
        begun = [ids for ids in self._answers if ids[:size] == list(written)]
        return sorted({ids[size] for ids in begun if len(ids) > size}) or self._answers[0][-1:]

    def _thought(self, text: str) -> str:
        """What stands before the answer, as a template has it there."""
        marker = self._template.spans(Example("", "", "")).answer.strip()
        if not marker:
            return re.match(r"(?:.*</think>\s*|.*\n\n)?", text, re.DOTALL)[0]  # pyright: ignore
        start = "" if self._template.name == "compact" else "^"
        found = re.search(rf"{start}{re.escape(marker)}", text, re.MULTILINE)
        if found is not None:
            return text[: found.start()]
        needs_end = self._template.name != "compact" and text and not text.endswith("\n")
        return f"{text}\n" if needs_end else text
