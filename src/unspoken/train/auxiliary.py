"""An auxiliary loss: what predicts a kept token has to know the removed ones as well.

Once tokens of a thought are gone, nothing in the text says any more which they were: that they
have to be worked out inside is to be learned from what the answer's loss tells. Here the last
hidden state at each place where a kept token is predicted has to hold removed ones, too. Each token
has a code, a vector that is drawn once, and each place in the thought a vector of signs; the
state times the signs of a place is to be nearest to the code of the token that stood there.

Nothing is added to the model: codes and signs are constants, and what is drawn follows from seed
and step, so there is no state to keep, and the trained model is asked as any other. Large
vocabularies share `CODES` codes, so that it costs little beside the output layer.

That hidden states are taught the steps they stand for is the idea of SIM-CoT (arXiv 2509.20317),
several tokens from one state that of multi-token prediction (arXiv 2404.19737); both train modules
of their own for it. Signs keep things apart as in vector symbolic architectures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from unspoken.common.errors import ModelError, setting
from unspoken.train.collate import IGNORE, Batch, first_removed, on_device
from unspoken.train.loss import loss_of_each

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from unspoken.train.dataset import CoTDataset

#: Removed tokens that one state predicts in a step, at the most.
MOST = 16
#: Codes at the most; the number of a token modulo this is that of its code.
CODES = 512
#: Length of a code. A trained state of width D has about that of sqrt(D).
CODE_NORM = 2.0


@dataclass(frozen=True)
class Removed:
    """What the states of a micro-batch are to predict besides.

    Attributes:
        places: int64, (B, C, K): where in the thought; any place where there is no label.
        tokens: int64, (B, C, K): what stood there, `IGNORE` where a state predicts fewer.
        count: int64, (B,): how many each state of an example predicts.
    """

    places: np.ndarray
    tokens: np.ndarray
    count: np.ndarray

    def tensors(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        """The same on `device`, by name."""
        return on_device(vars(self), device)


def draw_first(seed: int, step: int, size: int) -> np.ndarray:
    """Where in its removed tokens each example begins, (size,) in [0, 1); by seed and step."""
    return np.random.default_rng([seed, step, 0xA0C5]).random(size)


def removed_tokens(
    dataset: CoTDataset,
    indices: np.ndarray,
    gone: np.ndarray,
    batch: Batch,
    first: np.ndarray,
    *,
    side: Literal["left", "right"],
) -> Removed | None:
    """Which removed tokens each state predicts; None where nothing is gone.

    The states of an example take turns: the next one goes on where the one before has ended, so
    that together they predict all tokens equally often.

    Args:
        dataset: encoded spans.
        indices, gone: (B,): the examples, and how many tokens of each thought are gone.
        batch: what `collate` made of them.
        first: (B,) in [0, 1), where the first state begins.
        side: of the thought, from which tokens go.
    """
    count = np.minimum(gone, MOST)  # (B,)
    if not count.any():
        return None
    learned = batch.labels[:, batch.label_columns + 1] != IGNORE  # (B, C)
    turn = (learned.cumsum(axis=1) - 1)[:, :, None]  # (B, C, 1): which state of its example
    each = np.arange(count.max())  # (K,)
    begin = np.floor(first * gone).astype(np.int64)[:, None, None]
    chosen = (begin + turn * count[:, None, None] + each) % np.maximum(gone, 1)[:, None, None]
    thought = dataset.thought_lengths[indices].astype(np.int64)
    places = first_removed(thought, gone, side)[:, None, None] + chosen  # (B, C, K)
    is_asked = learned[:, :, None] & (each < count[:, None])[:, None]
    at = dataset.starts[indices] + dataset.prompt_lengths[indices]
    places = np.where(is_asked, places, 0)
    tokens = dataset.tokens[at[:, None, None] + places].astype(np.int64)
    return Removed(places, np.where(is_asked, tokens, IGNORE), count)


class Auxiliary:
    """Has a model's states know removed tokens while it is trained."""

    def __init__(self, model: PreTrainedModel | PeftModel, longest: int) -> None:
        """Watches what the model's output layer is given, until `close`.

        Args:
            model: the bare one; nothing of it is changed.
            longest: tokens in the longest thought.

        Raises:
            ModelError: the model has no output layer of its own.
        """
        output = model.get_output_embeddings()
        if output is None:
            raise ModelError(
                f"{setting('schedule.auxiliary_loss')}: {type(model).__name__} names no output "
                f"layer; needed: one that gives logits; set {setting('schedule.auxiliary_loss', 0)}"
            )
        random, (vocabulary, width) = np.random.default_rng(0x516B5), output.weight.shape
        signs = random.integers(0, 2, (longest, width), dtype=np.int8)
        codes = random.standard_normal((min(CODES, vocabulary), width)) * (CODE_NORM / width**0.5)
        self._signs, self._codes = torch.from_numpy(2 * signs - 1), torch.from_numpy(codes)
        self._states: torch.Tensor | None = None
        keep: Any = torch.compiler.disable(self._keep)
        self._watch = output.register_forward_pre_hook(keep)
        self._is_watching = False

    def close(self) -> None:
        """The model is as it was."""
        self._watch.remove()

    def losses(
        self, loss: Callable[[], torch.Tensor], removed: dict[str, torch.Tensor]
    ) -> list[torch.Tensor]:
        """A micro-batch's own loss, and that of what its states are to know, scalars.

        Args:
            loss: calls the model once.
            removed: what the states of that forward pass are to know, as `Removed.tensors` has it.
        """
        self._is_watching = True
        try:
            own = loss()
            return [own, self._of_states(**removed)]
        finally:
            self._is_watching, self._states = False, None

    def _of_states(
        self, places: torch.Tensor, tokens: torch.Tensor, count: torch.Tensor
    ) -> torch.Tensor:
        """-log P of the removed tokens, their mean at each label, summed over labels, a scalar."""
        states = self._states  # (B, C, D)
        if states is None:
            raise ValueError("the loss did not call the model")
        self._signs, self._codes = self._signs.to(states.device), self._codes.to(states)
        bound = states[:, :, None] * self._signs[places].to(states.dtype)  # (B, C, K, D)
        logits = bound.flatten(0, 2) @ self._codes.T
        wanted = torch.where(tokens == IGNORE, IGNORE, tokens % len(self._codes))
        losses = loss_of_each(logits, wanted.flatten()).view(tokens.shape)
        return (losses.sum(dim=(1, 2)) / count.clamp(min=1)).sum()

    def _keep(self, _: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if self._is_watching:
            self._states = arguments[0]
