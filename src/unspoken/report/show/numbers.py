"""Numbers as people read them, the same in the page, the plots and the terminal.

Every function returns a dash for None: a figure that was not measured is never shown as 0.
"""

from __future__ import annotations

import math

DASH = "–"
#: Keeps a number and its unit on one line.
_SPACE = "\u00a0"


def percent(share: float | None) -> str:
    """A share of 1 as a percentage; only exact ends read 0.0 % and 100.0 %.

    Examples:
        >>> percent(0.996).replace(chr(160), " "), percent(0.9997).replace(chr(160), " ")
        ('99.6 %', '99.97 %')
    """
    return DASH if share is None else f"{_percentage(share)}{_SPACE}%"


def percent_range(
    interval: tuple[float, float] | None, between: str = f"{_SPACE}to{_SPACE}"
) -> str:
    """An interval of shares, such as `99.0 to 99.8 %`."""
    if interval is None:
        return DASH
    low, high = interval
    return f"{_percentage(low)}{between}{_percentage(high)}{_SPACE}%"


def _percentage(share: float) -> str:
    for digits in range(1, 7):
        text = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(text) not in (0.0, 100.0):
            return text
    return f"{100 * share:.1f}"


def whole(number: int | None) -> str:
    """A count with thousands separators."""
    return DASH if number is None else f"{number:,}"


def counted(number: int | None, things: str) -> str:
    """A count and what is counted, given as of several.

    Example:
        >>> counted(1, "test questions"), counted(1200, "test questions")
        ('1 test question', '1,200 test questions')
    """
    return f"{whole(number)} {things.removesuffix('s') if number == 1 else things}"


def mean(number: float | None) -> str:
    """A mean with one decimal; whole numbers without: `7`, `16.4`."""
    return DASH if number is None else f"{number:,.1f}".removesuffix(".0")


def rate(number: float | None) -> str:
    """Three digits, whole from 100 on, two of what is small: `0.0031`, `0.52`, `58.1`, `7,029`."""
    if number is None:
        return DASH
    if number >= 99.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else _two_decimals(number)


def _two_decimals(number: float) -> str:
    """Two decimals; of what would be `0.00`, the first two digits."""
    return exact(float(f"{number:.2g}")) if 0 < number < 0.095 else f"{number:.2f}"


def duration(seconds: float | None) -> str:
    """The time for one question: `7.6 ms`, `1.24 s`."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{rate(1000 * seconds)}{_SPACE}ms"
    return f"{rate(seconds)}{_SPACE}s"


def parameters(number: int | None) -> str:
    """A model's size: `407 k`, `124 M`, `7.2 B`."""
    if number is None:
        return DASH
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * scale:  # 999.9 M is 1 B and not 1e+03 M
            return f"{number / scale:.3g}{_SPACE}{unit}"
    return str(number)


def memory(number: int | None) -> str:
    """Bytes: `12 KiB`, `457 MiB`, `1.2 GiB`."""
    if number is None:
        return DASH
    for unit, scale, digits in (("GiB", 1 << 30, 1), ("MiB", 1 << 20, 0), ("KiB", 1 << 10, 0)):
        if number >= scale:
            return f"{number / scale:.{digits}f}{_SPACE}{unit}"
    return f"{number}{_SPACE}B"


def wall_time(seconds: float | None) -> str:
    """The time for a stage or a training: `40 ms`, `12.3 s`, `4.5 min`, `3.2 h`."""
    if seconds is None or seconds < 120:
        return duration(seconds)
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f}{_SPACE}min"
    return f"{seconds / 3600:.1f}{_SPACE}h"


def times(
    ratio: float, interval: tuple[float, float] | None, between: str = f"{_SPACE}to{_SPACE}"
) -> str:
    """A ratio with its interval: `1.9× (1.8 to 2.0)`.

    Example:
        >>> times(1.9, (1.85, 2.0), between="-"), times(1.02, (1.01, 1.04), between="-")
        ('1.9× (1.9-2.0)', '1.02× (1.01-1.04)')
    """
    value, *ends = ratio_texts(ratio, interval)
    return f"{value}×{f' ({between.join(ends)})' if ends else ''}"


def ratio_texts(ratio: float, interval: tuple[float, float] | None = None) -> list[str]:
    """A ratio and the ends of its interval; as many decimals as tell it from 1 and them apart.

    Example:
        >>> ratio_texts(0.846, (0.841, 0.85)), ratio_texts(2.17, (2.16, 2.18)), ratio_texts(2.16)
        (['0.85', '0.84', '0.85'], ['2.17', '2.16', '2.18'], ['2.2'])
    """
    numbers = (ratio,) if interval is None else (ratio, *interval)
    short = [f"{number:.1f}" for number in numbers]
    is_enough = ratio >= 1 and all(abs(number - 1) >= 0.1 for number in numbers)
    if is_enough and (interval is None or short[1] != short[2]):
        return short
    return [_two_decimals(number) for number in numbers]


def exact(number: float) -> str:
    """Four significant digits without an exponent, for those who want to calculate with it.

    Examples:
        >>> exact(0.0123456), exact(12.5), exact(123456.7)
        ('0.01235', '12.5', '123,457')
    """
    if number == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def money(number: float | None, currency: str) -> str:
    """An amount: cents from 0.1 on, four significant digits below.

    Examples:
        >>> money(12.345, "USD").replace(chr(160), " "), money(0.00021, "USD")[-7:]
        ('USD 12.35', '0.00021')
    """
    if number is None:
        return DASH
    amount = f"{number:,.2f}" if abs(number) >= 0.1 else exact(number)
    return f"{currency}{_SPACE}{amount}"
