"""Positions that jump over what was removed, and how such a model is exported exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unspoken import recipe
from unspoken.common.errors import ModelError, setting

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from unspoken.train.dataset import CoTDataset


def require_gap_support(
    model: PreTrainedModel | PeftModel, dataset: CoTDataset, schedule: recipe.Schedule
) -> None:
    """Checks that a model trained with gaps can be exported exactly.

    Raises:
        ModelError: it cannot, with the reason.
    """
    positions = setting("schedule.positions")
    advice = f"set {setting('schedule.positions', 'natural')}"
    if _position_table(model) is None:
        raise ModelError(
            f"{positions}: gap needs a learned position table that can be moved; "
            f"{model.config.model_type} has none (rotary or relative positions); {advice}"
        )
    for span, lengths in (
        ("prompts", dataset.prompt_lengths),
        ("thoughts", dataset.thought_lengths),
    ):
        if lengths.min() != lengths.max():
            raise ModelError(
                f"{positions}: gap needs {span} of one length, found {lengths.min()} to "
                f"{lengths.max()} tokens: where the gap ends would depend on the question, and "
                f"plain generate cannot know it; {advice}"
            )
    if schedule.unit != "token" or schedule.side != "left":
        raise ModelError(
            f"{positions}: gap needs {setting('schedule.unit', 'token')} and "
            f"{setting('schedule.side', 'left')}, so that the gap follows the prompt; found "
            f"{schedule.unit} and {schedule.side}; {advice}"
        )


@contextmanager
def gap_closed(
    model: PreTrainedModel | PeftModel, dataset: CoTDataset, removed: int
) -> Iterator[None]:
    """Within the block, plain `generate` behaves as training with gaps did."""
    move_positions(model, dataset, removed)
    try:
        yield
    finally:
        move_positions(model, dataset, removed, back=True)


def move_positions(
    model: PreTrainedModel | PeftModel, dataset: CoTDataset, removed: int, *, back: bool = False
) -> None:
    """Moves the rows of the position table over the gap, or back again.

    Row prompt_length + i becomes what row prompt_length + removed + i was. It is a permutation,
    so moving back is exact; the rows that are not needed go to the end of the table.
    """
    import torch

    removed = min(removed, dataset.longest_thought)
    if not removed:  # any model will do
        return
    table = _position_table(model)
    start = int(dataset.prompt_lengths[0])
    order = torch.arange(table.shape[0], device=table.device)
    order = torch.cat([order[:start], order[start + removed :], order[start : start + removed]])
    with torch.no_grad():
        table.copy_(table[torch.argsort(order) if back else order])


def _position_table(model: PreTrainedModel | PeftModel) -> Any:
    """The weight of a GPT-2-like learned position embedding, (positions, width), or None."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "wpe":
            return module.weight
    return None
