"""`unspoken diagnose`: a look into the models of a finished run, by questions it did not test with.

Four things are asked: which digits of the answer are right at each level of removal, whether the
values that the thought held can be read off the hidden states, what the models do with numbers of
another size, and whether the internalized one can still write its thought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unspoken.common.errors import DataError, ModelError
from unspoken.common.files import read_json
from unspoken.common.locks import locked
from unspoken.data.example import Example, read_examples, read_questions
from unspoken.measure.answers.digits import right_places
from unspoken.measure.decode import decode
from unspoken.measure.evaluate import EvaluateOptions, evaluate
from unspoken.measure.grade import grade
from unspoken.measure.predictions import Prediction
from unspoken.measure.probes import chance_shares, digit_targets, hidden_states, probe_shares
from unspoken.measure.stats import wilson_interval
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import weights_hash
from unspoken.models.load import load_model, load_tokenizer, num_positions
from unspoken.models.template import Template
from unspoken.recipe import Recipe, layout
from unspoken.recipe.diagnosis_record import (
    Diagnosis,
    DigitsAtLevel,
    OtherSize,
    Probe,
    Probes,
    ThoughtAgain,
)
from unspoken.recipe.levels import level_folder, standing_model
from unspoken.recipe.named_model import command_to_finish
from unspoken.recipe.plan import PlannedFrontier
from unspoken.recipe.records import TrainingRecord, VettedRecord
from unspoken.report.read.frontier import read_levels
from unspoken.run.data import Splits
from unspoken.run.left_models import tell_gone
from unspoken.run.measure import model_in
from unspoken.run.sizes import QuestionsOfSize, questions_of_sizes
from unspoken.train.encode import encode_examples
from unspoken.train.gap import move_positions

if TYPE_CHECKING:
    from unspoken.train.dataset import CoTDataset

#: Examples that probes are fitted to.
_NUM_FITTED = 2_000
_NO_DIGITS = "The answers are no numbers, so there are no digits to compare."
_NUM_ANSWER_TOKENS = 8  # that are looked at: more would be more columns than examples


@dataclass(frozen=True)
class _Asked:
    """A model of the run, loaded to be looked into."""

    name: str
    model: Any
    tokenizer: Any
    template: Template
    card: ModelCard
    batch_size: int

    def answers(self, examples: Sequence[Example], limit: int | None = None) -> list[Prediction]:
        """Greedy answers, up to so many tokens or as many as the model's card says."""
        options = EvaluateOptions(limit or self.card.max_new_tokens, self.batch_size)
        return evaluate(self.model, self.tokenizer, self.template, examples, options)[0]


def diagnose_run(
    folder: Path,
    frontier: PlannedFrontier,
    *,
    limit: int = 500,
    say: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Looks into the models of a run and writes diagnosis.json; a single process does.

    The test questions are not read.

    Args:
        folder: of the run.
        frontier: of the phase, whose models are looked into.
        limit: validation questions at the most.
        say: gets a line for each part as it begins.

    Raises:
        DataError: the run is not finished, or has no validation questions.
        ModelError: the model that writes its thought, or the internalized one, was removed.
    """
    record = TrainingRecord.read(folder / frontier.source / layout.STAGE_FILE)
    if record is None or not record.is_done:
        raise DataError(
            f"{folder / frontier.source}: found no finished training; needed: an internalized "
            f"model; finish the run first: {command_to_finish(folder)}"
        )
    splits = Splits.read(folder / layout.DATA / frontier.key, folder)
    if splits is None or splits.valid is None:
        raise DataError(
            f"{folder / layout.DATA}: found no validation questions; needed: some, because the "
            "test questions are not for looking into models; run again with some"
        )
    with locked(folder / layout.LOCKED):
        look = _Look(folder, frontier, splits, limit, say)
        found = look.whole()
        found.write(folder / layout.DIAGNOSIS / frontier.key / layout.DIAGNOSIS_FILE)
    return found


class _Look:
    """One diagnosis: the models, and the examples that they are shown."""

    def __init__(
        self,
        run: Path,
        frontier: PlannedFrontier,
        splits: Splits,
        limit: int,
        say: Callable[[str], None],
    ) -> None:
        self.run, self.frontier, self.splits, self.say = run, frontier, splits, say
        self.recipe: Recipe = frontier.recipe
        self.notes: list[str] = []
        self.valid = read_questions(str(splits.valid), limit=limit, with_thoughts=True)
        self.train = self._learned()
        if not all(example.thought for example in self.valid):
            self.notes.append(
                "The validation questions have no thoughts; probes and the thought asked for again "
                "use the training examples, of which some were not fitted to."
            )

    def whole(self) -> Diagnosis:
        """Everything that there is to find."""
        names = self._models()
        self.say("digits: of the answers at each level of removal")
        digits = list(self._digits())
        self.say("probes, other sizes, the thought again: of each model")
        probes, sizes, again = [], [], []
        targets = self._targets()
        of_sizes, notes = questions_of_sizes(self.recipe, self.valid, self.splits.train)
        self.notes += notes
        for name, place in names.items():
            asked = self._load(name, place)
            if targets is not None:
                probes += self._probes(asked, targets)
            sizes += self._sizes(asked, of_sizes)
            if name in (layout.EXPLICIT, layout.INTERNALIZED):
                again += self._again(asked)
        return Diagnosis(
            digits=digits,
            probes=None if targets is None else targets.described(probes),
            sizes=sizes,
            again=again,
            notes=self.notes,
            model_sha256=weights_hash(names[layout.INTERNALIZED]),
        )

    def _models(self) -> dict[str, Path]:
        """The folders of the models that are looked into, by name.

        Raises:
            ModelError: one of them was removed, before minutes are spent on the others.
        """
        writer = read_levels(self.run, self.frontier)[0].model
        internalized = self.run / self.frontier.source / layout.MODEL
        names = {
            layout.EXPLICIT: standing_model(writer),
            layout.INTERNALIZED: standing_model(internalized),
        }
        for place in names.values():
            if not layout.has_weights(place):
                raise ModelError(tell_gone(self.run, place, "a diagnosis looks into it"))
        for name in (layout.AT_ONCE, layout.NO_COT):
            place = standing_model(self.run / name / self.frontier.key / layout.MODEL)
            if layout.has_weights(place):
                names[name] = place
        return names

    def _learned(self) -> list[Example]:
        """Examples with thoughts that the students learned from."""
        path = self.splits.train
        vetted = VettedRecord.read(self.run / layout.VETTED / layout.STAGE_FILE)
        if vetted is not None and vetted.is_done:
            path = self.run / layout.VETTED / layout.DATASET_FILE
        return read_examples(path, limit=_NUM_FITTED + 500, allow_empty_thought=True, unique=False)

    def _load(self, name: str, folder: Path) -> _Asked:
        settings = model_in(folder, self.recipe.model)
        tokenizer = load_tokenizer(settings)
        model = load_model(settings, tokenizer, purpose="ask", dtype=self.recipe.evaluate.dtype)
        card = ModelCard.read(folder)
        if card is None:
            raise DataError(
                f"{folder}: has no unspoken.json, which says how the model is asked; needed: the "
                "folder as training left it; put the file back"
            )
        template = Template(card.template, tokenizer, card.choices)
        return _Asked(name, model, tokenizer, template, card, self.recipe.evaluate.batch_size)

    # ---- digits -----------------------------------------------------------------------------

    def _digits(self) -> Iterator[DigitsAtLevel]:
        """Of the levels as training left them, first the whole thought."""
        for level in read_levels(self.run, self.frontier):
            folder = level_folder(self.run / self.frontier.source, level.name)
            if not layout.has_weights(folder):
                folder = standing_model(level.model)
            if not layout.has_weights(folder):
                self.notes.append(f"Level {level.name}: its model is not there any more.")
                continue
            predictions = self._load(level.name, folder).answers(self.valid)
            graded = [one.correct for one in predictions if one.correct is not None]
            places = _places(predictions)
            if places:
                yield DigitsAtLevel(
                    level=level.name,
                    step=(read_json(folder / layout.VALID_FILE) or {}).get("step"),
                    accuracy=sum(graded) / len(graded) if graded else None,
                    places=places,
                )
            elif _NO_DIGITS not in self.notes:
                self.notes.append(_NO_DIGITS)

    # ---- probes -----------------------------------------------------------------------------

    def _targets(self) -> _Targets | None:
        examples = [example for example in self.train if example.thought]
        tested = [example for example in self.valid if example.thought]
        fitted = examples[:_NUM_FITTED]
        if not tested:
            fitted = examples[: 4 * len(examples) // 5]
            tested = examples[len(fitted) :]
        names, digits = digit_targets([one.thought for one in (*fitted, *tested)])
        # not of zeros that always stand there
        varies = [len(np.unique(column)) > 1 for column in digits.T]
        names, digits = [n for n, v in zip(names, varies, strict=True) if v], digits[:, varies]
        if not names or len(fitted) < 10 or not tested:
            self.notes.append("The thoughts hold no numbers that probes could look for.")
            return None
        return _Targets(names, digits, [*fitted, *tested], len(fitted))

    def _probes(self, asked: _Asked, targets: _Targets) -> Iterator[Probe]:
        """What can be read at the end of the prompt, and at the tokens that write the answer."""
        data = encode_examples(targets.examples, asked.tokenizer, asked.template)
        keeps = asked.name == layout.EXPLICIT
        rows, ends = [], []
        for number in range(len(data)):
            tokens = _tokens(data, number)
            prompt, thought = int(data.prompt_lengths[number]), int(data.thought_lengths[number])
            begin = prompt + (thought if keeps else 0)
            rows.append([*tokens[:begin], *tokens[prompt + thought :]])
            ends.append((prompt, begin, len(rows[-1])))
        count = min([_NUM_ANSWER_TOKENS, *(last - begin for _, begin, last in ends)])
        answer = [[begin - 1 + index for index in range(count)] for _, begin, _ in ends]
        # the rows that were not too long, in their order
        digits, fitted = targets.digits[data.rows], int((data.rows < targets.num_fitted).sum())
        for where, places in (("prompt", [[p - 1] for p, _, _ in ends]), ("answer", answer)):
            states = hidden_states(asked.model, rows, places, asked.batch_size)
            shares = [probe_shares(layer, digits, fitted) for layer in states]
            yield Probe(asked.name, where, shares)  # pyright: ignore[reportArgumentType]

    # ---- other sizes ------------------------------------------------------------------------

    def _sizes(self, asked: _Asked, questions: Sequence[QuestionsOfSize]) -> Iterator[OtherSize]:
        """How it answers questions of the sizes next to those that it learned."""
        positions = num_positions(asked.model)
        for size, is_trained, examples in questions:
            limit = 2 * asked.card.max_new_tokens
            if positions is not None:
                texts = [asked.template.prompt(example.question) for example in examples]
                limit = min(limit, positions - max(map(len, asked.tokenizer(texts).input_ids)))
            if limit < 1:
                self.notes.append(f"{asked.name}: {size} has longer prompts than it has positions.")
                continue
            graded = [p.correct for p in asked.answers(examples, limit) if p.correct is not None]
            right = sum(graded)
            yield OtherSize(
                size=size,
                model=asked.name,
                is_trained=is_trained,
                num_questions=len(graded),
                accuracy=right / len(graded) if graded else None,
                interval=wilson_interval(right, len(graded)) if graded else None,
            )

    # ---- the thought again ------------------------------------------------------------------

    def _again(self, asked: _Asked) -> Iterator[ThoughtAgain]:
        """Whether the thought still comes, token by token and as a whole after its first one."""
        source = self.valid if all(one.thought for one in self.valid) else self.train
        examples = [one for one in source if one.thought][:500]
        if not examples:
            return
        data = encode_examples(examples, asked.tokenizer, asked.template)
        gone = data.longest_thought
        if asked.card.removed is not None:
            gone = min(asked.card.removed, gone)
        if self.recipe.schedule.positions == "gap":
            # where the thought's tokens stood when it was still written
            move_positions(asked.model, data, gone, back=True)
        first = _first_tokens(asked, data)
        tokens = _likeliest(asked.model, data, asked.batch_size)
        whole, right = _written_after_first(asked, data, examples)
        yield ThoughtAgain(asked.name, first, tokens, whole, right, len(data))


@dataclass(frozen=True)
class _Targets:
    """What probes look for in which examples: those to fit to first."""

    names: list[str]
    digits: np.ndarray
    examples: list[Example]
    num_fitted: int

    def described(self, probes: list[Probe]) -> Probes:
        return Probes(
            targets=self.names,
            chance=chance_shares(self.digits, self.num_fitted),
            example=self.examples[-1].thought,
            num_fitted=self.num_fitted,
            num_tested=len(self.examples) - self.num_fitted,
            probes=probes,
        )


def _places(predictions: Sequence[Prediction]) -> dict[str, float]:
    """The share of right digits at each place that most answers have."""
    found: dict[str, list[bool]] = {}
    for one in predictions:
        gold = one.gold or ""
        right = right_places(one.pred, gold) or {}
        for place in right_places(gold, gold) or {}:  # surplus digits of a wrong answer have none
            found.setdefault(str(place), []).append(right[place])
    most = max(map(len, found.values()), default=0)
    kept = [place for place, right in found.items() if len(right) >= most / 2]
    kept.sort(key=lambda place: float(place) if place != "sign" else float("inf"))
    return {place: sum(found[place]) / len(found[place]) for place in kept}


def _tokens(data: CoTDataset, number: int) -> list[int]:
    start = int(data.starts[number])
    return data.tokens[start : start + int(data.lengths[number])].astype(int).tolist()


def _prompt_and_first(data: CoTDataset, with_first: int) -> list[list[int]]:
    return [
        _tokens(data, number)[: int(data.prompt_lengths[number]) + with_first]
        for number in range(len(data))
    ]


def _completed(asked: _Asked, prompts: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    found: list[list[int]] = []
    for start in range(0, len(prompts), asked.batch_size):
        completions = decode(
            asked.model,
            prompts[start : start + asked.batch_size],
            eos_token_id=asked.tokenizer.eos_token_id,
            pad_token_id=asked.tokenizer.pad_token_id,
            max_new_tokens=limit,
        )
        found += [list(one.token_ids) for one in completions]
    return found


def _first_tokens(asked: _Asked, data: CoTDataset) -> float:
    """Share of questions that are answered with the first token of the thought first."""
    written = _completed(asked, _prompt_and_first(data, 0), 1)
    firsts = [row[-1] for row in _prompt_and_first(data, 1)]
    return sum(own[:1] == [first] for own, first in zip(written, firsts, strict=True)) / len(firsts)


def _likeliest(model: Any, data: CoTDataset, batch_size: int) -> list[float]:
    """For each token of the thoughts, the share that is the likeliest after those before it."""
    import torch

    longest = int(data.thought_lengths.max())
    right, known = np.zeros(longest), np.zeros(longest)
    device = next(model.parameters()).device
    for start in range(0, len(data), batch_size):
        numbers = range(start, min(start + batch_size, len(data)))
        rows = [_tokens(data, number) for number in numbers]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *([row[0]] * (width - len(row)))] for row in rows])
        with torch.no_grad():
            mask = torch.ones_like(ids, device=device)
            scores = model(input_ids=ids.to(device), attention_mask=mask, use_cache=False).logits
        likeliest = scores.argmax(dim=-1).cpu().numpy()
        for own, row, number in zip(likeliest, rows, numbers, strict=True):
            begin, count = int(data.prompt_lengths[number]), int(data.thought_lengths[number])
            right[:count] += own[begin - 1 : begin - 1 + count] == row[begin : begin + count]
            known[:count] += 1
    return (right / np.maximum(known, 1)).tolist()


def _written_after_first(
    asked: _Asked, data: CoTDataset, examples: Sequence[Example]
) -> tuple[float, float | None]:
    """Share of thoughts that are written right after their first token, and of answers then."""
    limit = data.longest_thought + int(data.answer_lengths.max()) + 8
    positions = num_positions(asked.model)
    if positions is not None:
        limit = min(limit, positions - int(data.prompt_lengths.max()) - 1)
    starts = _prompt_and_first(data, 1)
    written = _completed(asked, starts, limit)
    whole, right = 0, []
    for number, own in enumerate(written):
        begin, count = int(data.prompt_lengths[number]), int(data.thought_lengths[number])
        thought = _tokens(data, number)[begin : begin + count]
        text = asked.tokenizer.decode([thought[0], *own], skip_special_tokens=True)
        whole += [thought[0], *own][:count] == thought
        gold, choices = examples[int(data.rows[number])].answer, asked.template.choices
        verdict = grade(text, gold, choices).correct
        if verdict is not None:
            right.append(verdict)
    return whole / len(written), sum(right) / len(right) if right else None
