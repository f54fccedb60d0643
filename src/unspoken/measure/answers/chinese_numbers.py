"""Numbers in Chinese signs, alone and among digits: 四十二, 3万, 1億2000万, and the Korean 5천.

Below `clean`. 千克 and 千米 are units, so their 千 is no thousand.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, localcontext

_DIGITS = {sign: n for n, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_SCALES = {
    sign: scale
    for scale, signs in {
        10: "十", 12: "打", 100: "百백", 1000: "千천", 10**4: "万萬만", 10**8: "亿億억",
    }.items()
    for sign in signs
}  # fmt: skip
_NUMERAL = r"[0-9]{1,12}(?:,[0-9]{3}){0,4}(?:\.[0-9]{1,9})?"
_SCALE = rf"(?:(?!千[克米瓦卡])[{''.join(_SCALES)}]){{1,3}}"
# 3万5 may be 35000, 一百五 is 150: what follows a scale at once is not read.
_AMONG_DIGITS = re.compile(
    rf"(?<![0-9.,]){_NUMERAL} ?{_SCALE}(?: ?{_NUMERAL}{_SCALE}){{0,3}}(?:[0-9]{{3,4}})?(?![0-9.])"
)
_ALONE = re.compile(
    "(?:(?:[一二两兩三四五六七八九]?[十百千万萬亿億]零?){1,9}(?:(?<=[十零])[一二三四五六七八九])?"
    "|[零一二两兩三四五六七八九])"
    "(?=$|[个個名只隻枚颗顆]|[元円块人岁歳天年]$)"
)
_TOKEN = re.compile(rf"{_NUMERAL}|[^ ]")


def with_digits(text: str) -> str:
    """Returns 42 for 四十二, 23000 for 2万3千 and 25000元 for 2.5万元."""
    if alone := _ALONE.match(text):
        return _value(alone[0]) + text[alone.end() :]
    return _AMONG_DIGITS.sub(lambda number: _value(number[0]), text)


def _value(number: str) -> str:
    """Returns the value of a number in digits: each scale counts what stands before it."""
    total, part, highest = Decimal(0), Decimal(0), 10**9
    digit: Decimal | None = None
    with localcontext(Context(prec=99)):
        for sign in _TOKEN.findall(number):
            scale = _SCALES.get(sign)
            if scale is None:
                digit = Decimal(_DIGITS[sign] if sign in _DIGITS else sign.replace(",", ""))
                continue
            if scale < 10**4:
                part, digit = part + (1 if digit is None else digit) * scale, None
                continue
            part += digit or 0
            is_next = part and scale < highest  # 2000万 of 1億2000万
            total = total + part * scale if is_next else (total + part or 1) * scale
            part, digit, highest = Decimal(0), None, scale
        return format(total + part + (digit or 0), "f")
