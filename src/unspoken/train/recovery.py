"""How likely a model finds the tokens that a level of removal keeps: what adaptive removal asks.

Nothing is decoded: one forward pass over validation questions with their worked thoughts gives
every kept token's loss. With everything removed it is the loss of the answer alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from unspoken.data.example import Example
from unspoken.models.template import Template
from unspoken.recipe import Recipe
from unspoken.train.attention import mask_of_ones, unpadded
from unspoken.train.collate import IGNORE, collate, first_removed
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unspoken.parallel.processes import AnyModel, Processes


class Recovery:
    """Measures a model on examples with worked thoughts, at any level of removal."""

    def __init__(self, recipe: Recipe, processes: Processes, examples: CoTDataset) -> None:
        """Takes the examples; nothing is measured yet.

        Args:
            recipe: its sections `schedule` and `train` are used.
            processes: that train; all of them call the functions below and get the same numbers.
            examples: the first `train.num_valid` of them are asked.
        """
        self.recipe, self.processes, self.examples = recipe, processes, examples
        self.count = min(recipe.train.num_valid, len(examples))

    def measure(self, model: AnyModel, removed: int) -> list[float]:
        """This level's losses, nats a question: of the kept tokens, and of the answer alone."""
        losses, gone = self._token_losses(model, removed)  # (n, T), (n,)
        thought = self.examples.thought_lengths[: self.count] - gone  # (n,) that are kept of it
        in_answer = np.arange(losses.shape[1]) >= thought[:, None]  # (n, T)
        found = [losses.sum(axis=1).mean(), (losses * in_answer).sum(axis=1).mean()]
        return self._alike([float(loss) for loss in found])

    def kept_tokens(self) -> list[float]:
        """Tokens of thought and answer that a level keeps on average, by how many are removed."""
        examples, everyone = self.examples, np.arange(self.count)
        learned = (examples.lengths - examples.prompt_lengths)[everyone]  # (n,)
        levels = range(examples.longest(self.recipe.schedule.unit) + 1)
        return [float((learned - self._tokens_removed(everyone, k)).mean()) for k in levels]

    def measure_reference(self, model: AnyModel, removed: int) -> list[float]:
        """The same for every higher level, by tokens (or steps) removed, without removing them.

        Args:
            model: that writes the thought, of which only `removed` is gone.
            removed: the level at which it is trained.

        Returns:
            Element k: the mean loss of the tokens that are kept when k are removed.
        """
        schedule, examples = self.recipe.schedule, self.examples
        everyone = np.arange(self.count)
        losses, gone = self._token_losses(model, removed)  # (n, T), (n,)
        # sums[i, j]: of the first j kept tokens
        sums = np.concatenate([np.zeros((self.count, 1)), np.cumsum(losses, axis=1)], axis=1)
        thought = examples.thought_lengths[everyone].astype(np.int64)  # (n,) whole
        found = []
        for level in range(examples.longest(schedule.unit) + 1):
            left_out = np.maximum(self._tokens_removed(everyone, level), gone)
            begin = first_removed(thought, left_out, schedule.side)
            without = sums[everyone, begin + left_out - gone] - sums[everyone, begin]
            found.append(float((sums[:, -1] - without).mean()))
        return self._alike(found)

    def _token_losses(self, model: AnyModel, removed: int) -> tuple[np.ndarray, np.ndarray]:
        """Each kept token's loss, (n, T), and how many tokens were removed, (n,)."""
        import torch

        from unspoken.train.loss import cross_entropy_of_each

        schedule, train = self.recipe.schedule, self.recipe.train
        everyone = np.arange(self.count)
        gone = self._tokens_removed(everyone, removed)
        width = int((self.examples.lengths - self.examples.prompt_lengths)[everyone].max())
        losses = np.zeros((self.count, width))
        size = train.micro_batch_size or train.batch_size
        with self.processes.whole(model, everywhere=True) as whole, torch.no_grad(), unpadded():
            whole.eval()
            for start in range(0, self.count, size):
                rows = everyone[start : start + size]
                batch = collate(
                    self.examples,
                    rows,
                    gone[rows],
                    side=schedule.side,
                    positions=schedule.positions,
                )
                inputs: dict[str, Any] = batch.tensors(self.processes.accelerator.device)
                inputs |= mask_of_ones(whole, inputs["input_ids"])
                labels = inputs.pop("labels")
                nll = cross_entropy_of_each(whole(**inputs, use_cache=False).logits, labels)
                learned = (labels != IGNORE).cpu().numpy()
                for row, mine, values in zip(rows, learned, nll.cpu().numpy(), strict=True):
                    losses[row, : mine.sum()] = values[mine]
            whole.train()
        return losses, gone

    def _tokens_removed(self, rows: np.ndarray, removed: int) -> np.ndarray:
        schedule = self.recipe.schedule
        return self.examples.tokens_removed(
            rows, np.full(len(rows), removed), side=schedule.side, unit=schedule.unit
        )

    def _alike(self, values: list[float]) -> list[float]:
        """As the main process found them: all must decide alike."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list(values)


def measured_examples(
    recipe: Recipe,
    valid: Sequence[Example],
    train: CoTDataset,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
) -> CoTDataset:
    """The examples that recovery is measured on: validation questions where they have a thought.

    A teacher's thoughts are its own, and validation files have those of the task: there, and
    without validation questions as short as these, examples of the training itself are measured.
    """
    own = recipe.teacher is None or recipe.teacher.writes_worked_thoughts
    thoughtful = [each for each in valid if each.thought]
    if not (own and thoughtful):
        return train
    by_steps = recipe.schedule.unit == "step"
    longest = int(train.lengths.max())  # the model may have no positions for more
    encode = partial(encode_examples, thoughtful, tokenizer, template, steps=by_steps)
    encoded = encode()
    fits = encoded.lengths <= longest
    if fits.all():
        return encoded
    return encode(max_length=longest) if fits.any() else train
