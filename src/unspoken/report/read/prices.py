"""What a stage's tokens cost: as it was charged, or at the prices that the recipe has now."""

from __future__ import annotations

from typing import Any


def currency_of(recipe: dict[str, Any]) -> str:
    """The currency of the recipe's prices."""
    return (recipe.get("costs") or {}).get("currency") or "USD"


def charged(stage: dict[str, Any], recipe: dict[str, Any]) -> tuple[float | None, str]:
    """What the teacher's tokens in a stage cost, and in what currency.

    A cost in stage.json is what was charged. Without one, the recipe's prices count, which may
    have been written down after the teacher was asked.

    Args:
        stage: stage.json of traces or vetted.
        recipe: of the run.

    Example:
        >>> prices = {"price_prompt": 1.0, "price_completion": 4.0}
        >>> charged({"num_prompt_tokens": 500_000, "num_tokens": 250_000}, {"teacher": prices})
        (1.5, 'USD')
    """
    known = stage.get("cost")
    # what was asked again without prices is charged 0.0; at a price of 0 it stays so
    unpriced = known is None or (known == 0 and stage.get("num_asked_again"))
    computed = _computed(stage, recipe.get("teacher") or {}) if unpriced else None
    if computed is not None:
        return computed, currency_of(recipe)
    return known, stage.get("currency") or currency_of(recipe)


def _computed(stage: dict[str, Any], teacher: dict[str, Any]) -> float | None:
    counts = (stage.get("num_prompt_tokens"), stage.get("num_tokens"))
    prices = (teacher.get("price_prompt"), teacher.get("price_completion"))
    if None in counts or None in prices or teacher.get("engine") == "worked":
        return None
    return sum(count * price for count, price in zip(counts, prices, strict=True)) / 1e6  # pyright: ignore[reportOptionalOperand]
