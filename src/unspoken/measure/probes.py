"""Linear probes: how well the digits of a thought can be read off a model's hidden states.

A probe is a ridge regression from standardized states to one column for each digit; the largest
column is what it reads. It is fitted in closed form, to all digits of a thought at once, so a
layer takes one linear system.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unspoken.models.template import squeeze

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Digits of a thought that are read at the most, and the share of questions that must have one.
_MOST_TARGETS, _LEAST_SHARE = 40, 0.9
_NUM_DIGITS = 10
#: Of the penalty, as a share of the number of examples.
_RIDGE = 1e-3


def digit_targets(thoughts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The digits of the numbers in thoughts, by their places.

    Args:
        thoughts: their text.

    Returns:
        Names, `2.1` for the first digit of the second number; and the digits, int64, shape
        (thoughts, names), -1 where a thought has none. Digits that a tenth of the thoughts do not
        have are left out.

    Example:
        >>> digit_targets(["4 2 + 0 7", "1 3 + 0 9"])
        (['1.1', '1.2', '2.1', '2.2'], array([[4, 2, 0, 7],
               [1, 3, 0, 9]]))
    """
    rows = [
        {
            f"{number}.{place}": int(digit)
            for number, digits in enumerate(re.findall(r"[0-9]+", squeeze(thought)), 1)
            for place, digit in enumerate(digits, 1)
        }
        for thought in thoughts
    ]
    counts = Counter(name for row in rows for name in row)
    least = _LEAST_SHARE * len(rows)
    names = [name for name, count in counts.items() if count >= least][:_MOST_TARGETS]
    values = [[row.get(name, -1) for name in names] for row in rows]
    return names, np.array(values, dtype=np.int64).reshape(len(rows), len(names))


def hidden_states(
    model: PreTrainedModel | PeftModel,
    rows: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    batch_size: int,
) -> np.ndarray:
    """A model's states at chosen tokens of each row.

    Args:
        model: a causal language model.
        rows: token ids.
        places: of the tokens that are looked at in each row; as many for each.
        batch_size: rows at the same time.

    Returns:
        float32, shape (layers + 1, rows, places * width), the embeddings first.
    """
    import torch

    found = []
    model.eval()
    device = next(model.parameters()).device
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        longest = max(map(len, part))
        # on the right of a causal model, whatever stands there
        ids = torch.tensor([[*row, *([row[0]] * (longest - len(row)))] for row in part])
        at = torch.tensor([list(one) for one in places[start : start + batch_size]])
        with torch.no_grad():
            output: Any = model(
                input_ids=ids.to(device),
                attention_mask=torch.ones_like(ids, device=device),
                output_hidden_states=True,
                use_cache=False,
            )
        index = torch.arange(len(part))[:, None]
        states = torch.stack([one[index.to(device), at.to(device)] for one in output.hidden_states])
        found.append(states.flatten(2).float().cpu().numpy())
    return np.concatenate(found, axis=1)


def probe_shares(states: np.ndarray, digits: np.ndarray, num_fitted: int) -> list[float]:
    """Share of digits that probes read right, one for each column of `digits`.

    Args:
        states: of one layer, shape (questions, width).
        digits: shape (questions, targets), -1 where there is none.
        num_fitted: probes are fitted to so many of the questions, and tested on the others.
    """
    mean, deviation = states[:num_fitted].mean(axis=0), states[:num_fitted].std(axis=0)
    inputs = (states - mean) / (deviation + 1e-6)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), inputs.dtype)], axis=1)
    inputs = inputs.astype(np.float64)
    wanted = (digits[:num_fitted, :, None] == np.arange(_NUM_DIGITS)).reshape(num_fitted, -1)
    fitted = inputs[:num_fitted]
    gram = fitted.T @ fitted + _RIDGE * num_fitted * np.eye(fitted.shape[1])
    weights = np.linalg.solve(gram, fitted.T @ wanted.astype(np.float64))
    scores = (inputs[num_fitted:] @ weights).reshape(len(digits) - num_fitted, -1, _NUM_DIGITS)
    tested = digits[num_fitted:]
    right, known = scores.argmax(axis=2) == tested, tested >= 0
    return [float(r[k].mean()) if k.any() else 0.0 for r, k in zip(right.T, known.T, strict=True)]


def chance_shares(digits: np.ndarray, num_fitted: int) -> list[float]:
    """Share of right digits of someone who always says the most frequent one; as `probe_shares`."""
    shares = []
    for fitted, tested in zip(digits[:num_fitted].T, digits[num_fitted:].T, strict=True):
        known = fitted[fitted >= 0]
        likeliest = np.bincount(known, minlength=_NUM_DIGITS).argmax()
        there = tested[tested >= 0]
        shares.append(float((there == likeliest).mean()) if len(there) else 0.0)
    return shares
