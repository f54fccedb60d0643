r"""Tell whether two mathematical expressions have the same value, wherever their letters stand.

`equal` asks it last, about roots, powers and polynomials that no rule reads. An expression is
parsed and then calculated, with fractions as long as that is possible and with 150 digits where it
is not, once for a number and at several points where it has variables: two polynomials that agree
at a few such points are the same. Nothing is rounded and nothing is simplified, so the work is
bounded by the length of the text, and a number that grows beyond all bounds raises `Undecided`.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

Value: TypeAlias = Any  # a Fraction, or a number of mpmath's
Tree: TypeAlias = "Fraction | str | tuple[Any, ...]"

_MAX_CHARACTERS = 400
_MAX_DEPTH = 40
_MAX_DIGITS = 60
_DIGITS = 150
_SAME_DIGITS = 75  # of 150: the others are left to cancellation
_MIN_ROUNDED_DIGITS = 13  # 4.123105625617661 is the root of 17, 4.1231 is not
_MAX_EXACT_BITS = 20_000
_MAX_LOST_BITS = 240  # 72 digits
_MAX_SIZE_BITS = 100_000  # neither above 2^100000 nor below its inverse
_MAX_MAGNITUDE_BITS = 64
_MAX_FACTORIAL = 1000
# Values for variables, by the place of their name in the alphabet of the expression.
_POINTS = (
    (Fraction(97, 89), Fraction(71, 53), Fraction(113, 101), Fraction(61, 67), Fraction(139, 127)),
    (Fraction(-83, 79), Fraction(59, 47), Fraction(-103, 107), Fraction(37, 43), Fraction(31, 29)),
    (Fraction(-41, 73), Fraction(-149, 131), Fraction(67, 61), Fraction(-43, 37), Fraction(17, 19)),
)
_MAX_VARIABLES = len(_POINTS[0])

_TOKEN = re.compile(
    r"\s*(?:((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"|\\([A-Za-z]+)|((?:arc)?(?:sin|cos|tan)|sec|csc|cot|sqrt|exp|log|ln|pi)(?![A-Za-z])"
    r"|([A-Za-z]+)|([-+*/^(){}\[\]|!_]))"
)
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho "  # noqa: SIM905
    "sigma tau phi varphi chi psi omega infty emptyset Gamma Delta Theta Lambda Sigma Phi Psi "
    "Omega".split()
)
_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "exp", "ln", "log"]
)
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_CLOSED_BY = {"lfloor": "rfloor", "lceil": "rceil", "lvert": "rvert"}
_BRACKETS = {"(": ")", "{": "}", "[": "]"}


class Undecided(Exception):  # noqa: N818
    """What cannot be told with a bounded amount of work."""


class _NoExpression(Exception):  # noqa: N818
    """The text is no expression that is read here."""


@dataclass(frozen=True)
class Expression:
    """An expression that was read: its tree, and the variables in it."""

    tree: Tree
    variables: tuple[str, ...]


def same_value(first: Expression, second: Expression) -> bool:
    """Returns whether two expressions have the same value, for all values of their variables.

    Raises:
        Undecided: where a number grows beyond what can be calculated.
    """
    found = _evaluate(first, second)
    places = [each for each in (_rounded_places(first), _rounded_places(second)) if each]
    if len(found) == 1 and places and not _are_exact(*found[0]):
        one, other = map(_to_float, found[0])
        return bool(abs(one - other) * 10 ** min(places) <= 1)
    return bool(found) and all(_agree(one, other) for one, other in found)


def _rounded_places(expression: Expression) -> int:
    """Returns the decimal places of a plain number with so many digits that it may be a root's."""
    value = expression.tree
    if not isinstance(value, Fraction) or value.denominator == 1:
        return 0
    places = next((n for n in range(_MAX_DIGITS) if 10**n % value.denominator == 0), 0)
    return places if len(str(abs(value) * 10**places)) >= _MIN_ROUNDED_DIGITS else 0


def constant_ratio(first: Expression, second: Expression) -> Value | None:
    """Returns first / second where that is the same everywhere, or else None.

    Raises:
        Undecided: as `same_value`.
    """
    found = _evaluate(first, second)
    if not found or any(one == 0 or other == 0 for one, other in found):
        return None
    ratios = [_divide(one, other) for one, other in found]
    return ratios[0] if all(_agree(ratio, ratios[0]) for ratio in ratios) else None


@lru_cache(maxsize=256)
def read_expression(text: str) -> Expression | None:
    """Returns the expression that a whole text is, or None where it is anything else.

    Words, equations, lists, ratios, percent and numbers with a base are not read, and neither is
    what could be read in two ways, such as `x2` and `1 2`.
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        parser = _Parser(_tokenize(text))
        tree = parser.parse_sum(0)
        parser.expect_end()
    except _NoExpression:
        return None
    return Expression(tree, tuple(sorted(parser.variables)))


def difference(first: str, second: str) -> Expression | None:
    """Returns the expression first - second, None where one of them is no expression."""
    one, other = read_expression(first), read_expression(second)
    if one is None or other is None:
        return None
    names = sorted({*one.variables, *other.variables})
    return Expression(("-", one.tree, other.tree), tuple(names))


def _tokenize(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _NoExpression
        number, command, function, letters, sign = match.groups()
        if letters:
            tokens += _split_letters(letters)
        elif command or function:
            tokens.append(f"\\{command or function}")
        else:
            tokens.append(number or sign)
        if number and sum(map(str.isdigit, number)) > _MAX_DIGITS:
            raise Undecided
        position = match.end()
    return tokens


def _split_letters(letters: str) -> str:
    """Returns a product of single letters, such as mv or abc; other words are words."""
    if not re.fullmatch("[A-Za-z]|[a-z]{2}|[abcxyz]{3}", letters):
        raise _NoExpression
    return letters


class _Parser:
    """Reads tokens from left to right; each method returns the tree of what it has read."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._position = 0
        self.variables: set[str] = set()

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise _NoExpression
        self._position += 1
        return token

    def expect_end(self) -> None:
        if self._peek():
            raise _NoExpression

    def parse_sum(self, depth: int) -> Tree:
        if depth > _MAX_DEPTH:
            raise Undecided
        tree = self._parse_product(depth)
        while self._peek() in ("+", "-"):
            tree = (self._take(), tree, self._parse_product(depth))
        return tree

    def _parse_product(self, depth: int) -> Tree:
        sign = 1
        while self._peek() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        tree = self._parse_power(depth)
        while self._peek() in ("*", "/") or self._starts_factor():
            operation = self._take() if self._peek() in ("*", "/") else "*"
            negative = operation in "*/" and self._peek() == "-" and bool(self._take())
            factor = self._parse_power(depth)
            tree = (operation, tree, ("neg", factor) if negative else factor)
        return tree if sign > 0 else ("neg", tree)

    def _starts_factor(self) -> bool:
        """Whether a factor follows without a sign; a number does only at the beginning."""
        token = self._peek()
        if token.startswith("\\"):
            return token[1:] not in _CLOSED_BY.values()
        return token.isalpha() or token in ("(", "{", "[")

    def _parse_power(self, depth: int) -> Tree:
        tree = self._parse_primary(depth)
        while self._peek() == "!":
            self._take()
            tree = ("fact", tree)
        if self._peek() == "^":
            self._take()
            tree = ("^", tree, self._parse_exponent(depth))
            if self._peek() in ("^", "!"):
                raise _NoExpression
        return tree

    def _parse_exponent(self, depth: int) -> Tree:
        if self._peek() == "-":
            self._take()
            return ("neg", self._parse_primary(depth))
        return self._parse_primary(depth)

    def _parse_primary(self, depth: int) -> Tree:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            if self._peek() == "_":  # a number with a base
                raise _NoExpression
            return Fraction(token.replace(",", ""))
        if token in _BRACKETS:
            tree = self.parse_sum(depth + 1)
            self._take(_BRACKETS[token])
            return tree
        if token == "|":
            tree = self.parse_sum(depth + 1)
            self._take("|")
            return ("abs", tree)
        if token.isalpha():
            return self._read_name(token)
        if token.startswith("\\"):
            return self._parse_command(token[1:], depth)
        raise _NoExpression

    def _read_name(self, name: str) -> Tree:
        if self._peek() == "_":
            self._take()
            name += "_" + self._read_subscript()
        elif name in ("e", "i"):
            return (name,)
        self.variables.add(name)
        return name

    def _read_subscript(self) -> str:
        if self._peek() != "{":
            return self._take()
        self._take()
        parts = []
        while self._peek() != "}":
            parts.append(self._take())
        self._take("}")
        return "".join(parts)

    def _parse_command(self, name: str, depth: int) -> Tree:
        if name == "pi":
            return ("pi",)
        if name in _GREEK:
            return self._read_name(f"\\{name}")
        if name in _FUNCTIONS:
            return self._parse_function(name, depth)
        if name in _CLOSED_BY:
            tree = self.parse_sum(depth + 1)
            self._take(f"\\{_CLOSED_BY[name]}")
            return (name[1:], tree)
        return self._parse_construct(name, depth)

    def _parse_construct(self, name: str, depth: int) -> Tree:
        if name in ("frac", "binom"):
            first = self._parse_argument(depth)
            return ("/" if name == "frac" else "binom", first, self._parse_argument(depth))
        if name != "sqrt":
            raise _NoExpression
        order: Tree = Fraction(2)
        if self._peek() == "[":
            self._take()
            order = self.parse_sum(depth + 1)
            self._take("]")
        return ("root", self._parse_argument(depth), order)

    def _parse_argument(self, depth: int) -> Tree:
        """Reads what stands in braces or brackets; of a number without them LaTeX takes a digit."""
        token = self._peek()
        if token.isdigit() and len(token) > 1:
            raise _NoExpression
        if depth > _MAX_DEPTH:
            raise Undecided
        return self._parse_primary(depth + 1)

    def _parse_function(self, name: str, depth: int) -> Tree:
        base: Tree | None = None
        power: Tree | None = None
        if name == "log" and self._peek() == "_":
            self._take()
            base = self._parse_argument(depth)
        if self._peek() == "^":
            self._take()
            power = self._parse_exponent(depth)
        if power == ("neg", Fraction(1)):
            name, power = _INVERSES.get(name, ""), None
            if not name:
                raise _NoExpression
        argument = self._parse_function_argument(depth)
        tree: Tree = (name, argument) if base is None else ("log", argument, base)
        return tree if power is None else ("^", tree, power)

    def _parse_function_argument(self, depth: int) -> Tree:
        r"""Reads (x + 1), or without brackets a product such as the 2x of \sin 2x."""
        if depth > _MAX_DEPTH:
            raise Undecided
        if self._peek() in _BRACKETS:
            return self._parse_power(depth + 1)
        tree = self._parse_power(depth + 1)
        while self._peek().isalpha() or self._peek() == "\\pi":
            tree = ("*", tree, self._parse_power(depth + 1))
        return tree


class _Calculator:
    """Calculates the value of a tree; `context` is mpmath's, with the digits that are wanted."""

    def __init__(self, context: Any, values: Mapping[str, Fraction]) -> None:
        self._context = context
        self._values = values
        self._operations: dict[str, Callable[..., Value]] = {
            "+": self._add,
            "-": lambda a, b: self._add(a, -b),
            "*": lambda a, b: a * b if _are_exact(a, b) else _to_float(a) * _to_float(b),
            "/": _divide,
            "neg": lambda a: -a,
            "abs": abs,
            "vert": abs,
            "^": self._power,
            "root": self._root,
            "fact": self._factorial,
            "binom": self._binomial,
            "floor": lambda a: Fraction(math.floor(self._real(a))),
            "ceil": lambda a: Fraction(math.ceil(self._real(a))),
            "pi": context.pi,
            "e": context.e,
            "i": lambda: context.mpc(0, 1),
            "log": self._logarithm,
        }
        names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
        for name in _FUNCTIONS - {"log"}:
            self._operations[name] = self._function(getattr(context, names.get(name, name)))

    def calculate(self, tree: Tree) -> Value:
        if isinstance(tree, Fraction):
            return tree
        if isinstance(tree, str):
            return self._values[tree]
        name, *arguments = tree
        value = self._operations[name](*map(self.calculate, arguments))
        if isinstance(value, Fraction):
            if _bits(value) > _MAX_EXACT_BITS:
                raise Undecided
        elif value and abs(self._context.mag(value)) > _MAX_SIZE_BITS:
            raise Undecided
        return value

    def _add(self, first: Value, second: Value) -> Value:
        """Adds; raises where of one addend, or of the sum, too few digits would be left."""
        if _are_exact(first, second):
            return first + second
        first, second = _to_float(first), _to_float(second)
        total = first + second
        if first and second and total:
            sizes = [self._context.mag(each) for each in (first, second, total)]
            if max(sizes) - min(sizes) > _MAX_LOST_BITS:
                raise Undecided
        return total

    def _small(self, value: Value) -> Value:
        """Returns a number that may be an exponent or the argument of a function."""
        value = _to_float(value)
        if value and self._context.mag(value) > _MAX_MAGNITUDE_BITS:
            raise Undecided
        return value

    def _real(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            return value
        value = self._small(value)
        real = self._context.re(value)
        # A value this near to a whole number may be one that is not exact.
        if self._context.im(value) or abs(real - self._context.nint(real)) < 1e-60:
            raise Undecided
        return real

    def _function(self, function: Callable[[Value], Value]) -> Callable[[Value], Value]:
        return lambda value: function(self._small(value))

    def _power(self, base: Value, exponent: Value) -> Value:
        if _are_exact(base, exponent) and exponent.denominator == 1:
            if abs(exponent) * _bits(base) > _MAX_EXACT_BITS:
                raise Undecided
            return base ** int(exponent)
        if base == 0:
            raise ZeroDivisionError
        exponent = self._small(exponent)
        self._small(exponent * self._context.log(_to_float(base)))
        return _to_float(base) ** exponent

    def _root(self, value: Value, order: Value) -> Value:
        if not isinstance(order, Fraction) or order.denominator != 1 or not 2 <= order <= 1000:
            return self._power(value, 1 / order)
        if isinstance(value, Fraction) and order == 2 and value >= 0:
            top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
            if (top * top, bottom * bottom) == value.as_integer_ratio():
                return Fraction(top, bottom)
        value = _to_float(value)
        real = self._context.re(value)
        if order % 2 and not self._context.im(value) and real < 0:
            return -self._context.root(-real, int(order))
        return self._context.root(value, int(order))

    def _factorial(self, value: Value) -> Value:
        if isinstance(value, Fraction) and value.denominator == 1 and 0 <= value <= _MAX_FACTORIAL:
            return Fraction(math.factorial(int(value)))
        if abs(value) > _MAX_FACTORIAL:
            raise Undecided
        return self._context.gamma(_to_float(value) + 1)

    def _binomial(self, whole: Value, part: Value) -> Value:
        others = self._factorial(self._add(whole, -part))
        below = self._operations["*"](self._factorial(part), others)
        return self._operations["/"](self._factorial(whole), below)

    def _logarithm(self, value: Value, base: Value = Fraction(10)) -> Value:
        logarithms = (self._context.log(self._small(each)) for each in (value, base))
        return next(logarithms) / next(logarithms)


_LOCK = threading.Lock()  # a context of mpmath's serves one thread at a time


@lru_cache(maxsize=1)
def _load_context() -> Any:
    import mpmath

    context = mpmath.mp.clone()
    context.dps = _DIGITS
    return context


def _evaluate(first: Expression, second: Expression) -> list[tuple[Value, Value]]:
    """Returns the values of both at each point where both have one: two points, or none."""
    names = sorted({*first.variables, *second.variables})
    if len(names) > _MAX_VARIABLES:
        raise Undecided
    found: list[tuple[Value, Value]] = []
    with _LOCK:
        context = _load_context()
        for point in _POINTS if names else _POINTS[:1]:
            calculator = _Calculator(context, dict(zip(names, point, strict=False)))
            try:
                found.append((calculator.calculate(first.tree), calculator.calculate(second.tree)))
            except (ZeroDivisionError, ValueError):  # 1/0, ln 0
                continue
            except (ArithmeticError, NotImplementedError, MemoryError) as error:
                raise Undecided from error
    return found if len(found) >= (2 if names else 1) else []


def _agree(first: Value, second: Value) -> bool:
    """Whether two values are the same: fractions exactly, others in 75 of their 150 digits."""
    if _are_exact(first, second):
        return first == second
    first, second = (_to_float(value) for value in (first, second))
    return abs(first - second) * 10**_SAME_DIGITS <= min(abs(first), abs(second))


def _to_float(value: Value) -> Value:
    """Returns a number of mpmath's; raises where a fraction has more digits than are compared."""
    if not isinstance(value, Fraction):
        return value
    for part in value.as_integer_ratio():
        zeros = (part & -part).bit_length() - 1 if part else 0
        if part.bit_length() - zeros > _MAX_LOST_BITS:
            raise Undecided
    return _load_context().mpf(value.numerator) / value.denominator


def _divide(first: Value, second: Value) -> Value:
    return first / second if _are_exact(first, second) else _to_float(first) / _to_float(second)


def _are_exact(*values: Value) -> bool:
    return all(isinstance(value, Fraction) for value in values)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
