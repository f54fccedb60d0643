"""math-verify, fenced in: it sees short mathematical expressions and always comes to an end.

`equal` asks it last, about roots, polynomials, sets and intervals that no rule reads.
"""

from __future__ import annotations

import logging
import math
import re
import signal
import threading
from functools import lru_cache
from typing import Any

_MAX_MATH_CHARACTERS = 200
_MAX_MATH_DIGITS = 30
_MAX_EXPONENT = 1000
_MATH_TIMEOUT_S = 5
_MATH_COMMANDS = re.compile(
    r"frac|sqrt|pi|pm|mp|infty|cup|cap|le|leq|ge|geq|lt|gt|in|sin|cos|tan|log|ln|exp|"
    r"theta|alpha|beta|emptyset|mathbb|lfloor|rfloor|lceil|rceil|begin|end|pmatrix|"
    r"bmatrix"
)
_MATH_WORDS = re.compile(r"sqrt|pi|sin|cos|tan|log|ln|exp|pmatrix|bmatrix")
_PLAIN_EXPONENT = re.compile(r"\^\s*(?:\(([^()]*)\)|(-?[0-9]+))")
_EXPONENT = re.compile(r"\^\s*(\{[^{}^]{1,8}\}|[A-Za-z])(?!\s*\^)")
_NOT_MATHEMATICS = re.compile(r"[:=%!$#\"']|[0-9](?:\s+|[eE][+-]?)[0-9]|[^\x00-\x7f]")
_LETTER_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")


def equal_by_math_verify(first: str, second: str) -> bool:
    """Returns math-verify's verdict on two expressions that it can be trusted with, else False."""
    expressions = [to_math_expression(answer) for answer in (first, second)]
    if not all(expressions):
        return False
    math_verify = load_math_verify()
    timeout_s = _MATH_TIMEOUT_S if _alarm_is_free() else None
    config = [math_verify.LatexExtractionConfig()]
    try:
        predicted, gold = (
            math_verify.parse(
                f"${expression}$",
                extraction_config=config,
                fallback_mode="no_fallback",
                parsing_timeout=timeout_s,
            )
            for expression in expressions
        )
        # 12 places: a decimal is not the root that it approximates.
        return bool(
            predicted
            and gold
            and math_verify.verify(gold, predicted, float_rounding=12, timeout_seconds=timeout_s)
        )
    except (Exception, math_verify.errors.TimeoutException):
        # The timeout derives from BaseException. What can't be judged is not equal.
        return False


@lru_cache(maxsize=1)
def load_math_verify() -> Any:
    """Returns math_verify, imported at the first need: that takes most of a second."""
    import math_verify
    import math_verify.errors

    # It warns that it runs without its alarm; to_math_expression bounds the work instead.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return math_verify


def _alarm_is_free() -> bool:
    """Returns whether math-verify may use signal.alarm here.

    It works on the main thread only, and would silently cancel an alarm that the program has set.
    """
    return (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "getitimer")
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


def to_math_expression(text: str) -> str:
    """Returns the LaTeX to hand to math-verify, or "" for what it should not see.

    Refused: words, ratios, spaced digits, equations, percent (it judges those wrongly), and what
    can take for ever, such as 9^9^9^9, which no alarm interrupts.
    """
    if len(text) > _MAX_MATH_CHARACTERS or _NOT_MATHEMATICS.search(text):
        return ""
    text = re.sub(r"(?<![\\A-Za-z])sqrt ?\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = _PLAIN_EXPONENT.sub(lambda match: f"^{{{match[1] or match[2]}}}", text)
    words = [word for word in _LETTER_RUN.findall(text) if not _MATH_WORDS.fullmatch(word)]
    commands = re.findall(r"\\([A-Za-z]+)", text)
    # Products of single letters: xy, abc. Other words are words.
    if any(len(word) > 3 or not set(word) <= set("abcxyz") for word in words):
        return ""
    if not all(_MATH_COMMANDS.fullmatch(command) for command in commands):
        return ""
    is_expression = re.search(r"[0-9\\+*/^(\[{<>|-]", text) is not None
    if not is_expression or not _is_bounded(text):
        return ""
    return _LETTER_RUN.sub(
        lambda run: f"\\{run[0]}" if _MATH_WORDS.fullmatch(run[0]) else run[0], text
    )


def _is_bounded(text: str) -> bool:
    """Returns whether no number in an expression can grow beyond 30,000 digits."""
    if any(len(digits) > _MAX_MATH_DIGITS for digits in re.findall(r"[0-9]+", text)):
        return False
    exponents = _EXPONENT.findall(text)
    if len(exponents) != text.count("^") or text.count("exp") > 1:
        return False
    factors = [int(digits) for exponent in exponents for digits in re.findall("[0-9]+", exponent)]
    return math.prod(factor for factor in factors if factor) <= _MAX_EXPONENT
