"""What a job can cost at the most, by the user's own table of prices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from unspoken.common.errors import DataError, setting

_Price = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Prices(BaseModel):
    """Prices of SageMaker training, as a JSON file has them.

    Attributes:
        per_hour: instance type -> price of an hour on demand, such as {"ml.g5.xlarge": 1.4}.
        currency, region, date: of the prices.
    """

    per_hour: dict[str, _Price]
    currency: str = "USD"
    region: str | None = None
    date: str = "no date"


def read_prices(path: Path) -> Prices:
    """The prices in a JSON file; raises DataError where it cannot be used."""
    place = setting("prices", path)
    try:
        return Prices.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror}); name another") from None
    except (ValidationError, UnicodeDecodeError):
        raise DataError(
            f'{place}: needed: JSON such as {{"currency": "USD", "per_hour": '
            '{"ml.g5.xlarge": 1.4}}; correct it'
        ) from None


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
        prices: a JSON file that `read_prices` reads; None: nothing is known.

    Raises:
        DataError: the file cannot be used.
    """
    if prices is None:
        return [
            "cost: not known without a file of prices; docs/sagemaker.md, Cost, says how to give "
            f"one; the job runs for at most {max_run_s / 3600:g} h on {instance_count} x "
            f"{instance_type}"
        ]
    table = read_prices(prices)
    per_hour = table.per_hour.get(instance_type)
    if per_hour is None:
        return [
            f"cost: not known; {prices} has no price for {instance_type}; look it up, and add it"
        ]
    hours = max_run_s / 3600
    hourly = _round_up(per_hour * instance_count)
    most = _round_up(per_hour * instance_count * hours)
    lines = [
        f"cost: about {hourly:,.2f} {table.currency} per hour ({instance_count} x {instance_type} "
        f"at {per_hour:g}), at most {most:,.2f} {table.currency} if it runs for all of its "
        f"{hours:g} h",
        f"  approximate, check: on demand in {table.region or 'an unknown region'}, {table.date}, "
        f"from {prices}; storage, transfer and warm pools not counted",
    ]
    if table.region not in (None, region):
        lines.append(f"  the job runs in {region}, where prices differ: give prices of {region}")
    if spot:
        lines.append("  spot capacity is cheaper by a share that AWS names only afterwards")
    return lines


def _round_up(price: float) -> float:
    """To whole cents; what binary fractions add is no cent."""
    return math.ceil(round(100 * price, 6)) / 100
