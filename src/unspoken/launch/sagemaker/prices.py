"""What a job can cost at the most, from a table of prices that the user can replace."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError


def cost_lines(
    instance_type: str,
    instance_count: int,
    max_run_s: int,
    *,
    region: str,
    spot: bool,
    prices: Path | None,
) -> list[str]:
    """What is said about the cost before a job is submitted; about an unknown price, too.

    Args:
        instance_type, instance_count, max_run_s: of the job; its longest time decides.
        region: where the job runs; prices of another one are told with a warning.
        spot: whether the job takes spare capacity, which costs less by an unknown share.
        prices: a JSON file like launch/prices.json; None: that one.

    Raises:
        DataError: the file cannot be used.
    """
    table, where = _read(prices)
    per_hour = table["per_hour"].get(instance_type)
    if per_hour is None:
        return [
            f"cost: unknown; {where} has no price for {instance_type}; look it up, and give "
            "--prices FILE"
        ]
    currency, priced = table.get("currency", "USD"), table.get("region", "an unknown region")
    hours = max_run_s / 3600
    hourly = _rounded_up(per_hour * instance_count)
    most = _rounded_up(per_hour * instance_count * hours)
    lines = [
        f"cost: about {hourly:,.2f} {currency} per hour ({instance_count} x {instance_type} at "
        f"{per_hour:g}), at most {most:,.2f} {currency} if it runs for all of --max_run_s "
        f"({hours:g} h)",
        f"  approximate, check: on demand in {priced}, {table.get('date', 'no date')}, from "
        f"{where}; storage, transfer and warm pools not counted",
    ]
    if table.get("region", region) != region:
        lines.append(f"  the job runs in {region}, where prices differ: give --prices FILE")
    if spot:
        lines.append("  spot capacity is cheaper by a share that AWS names only afterwards")
    return lines


def _rounded_up(price: float) -> float:
    """To whole cents; what binary fractions add is no cent."""
    return math.ceil(round(100 * price, 6)) / 100


def _is_price(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _read(prices: Path | None) -> tuple[dict[str, Any], str]:
    where = str(prices) if prices is not None else "unspoken's example table"
    try:
        if prices is None:
            text = (
                resources.files("unspoken.launch.sagemaker")
                .joinpath("prices.json")
                .read_text("utf-8")
            )
        else:
            text = prices.read_text(encoding="utf-8")
        table = json.loads(text)
        usable = all(map(_is_price, table["per_hour"].values()))
    except OSError as error:
        raise DataError(
            f"--prices {where}: cannot be read ({error.strerror}); name another"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        usable = False
        table = {}
    if not usable:
        raise DataError(
            f'--prices {where}: needed: JSON such as {{"currency": "USD", "per_hour": '
            '{"ml.g5.xlarge": 1.4}}; correct it'
        )
    return table, where
