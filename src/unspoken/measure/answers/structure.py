"""Take an answer that has parts to pieces: lists, tuples, intervals, matrices and equations.

`equal` compares what is read here, part by part. Parts are texts: what they are worth is not asked
here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from unspoken.measure.answers.markers import THEREFORE

_MAX_PARTS = 40
_SEPARATOR = re.compile(
    r"\\[{}]|\\[lr]angle(?![a-z])|(?P<open>[(\[{]|\\begin)|(?P<close>[)\]}]|\\end)"
    r"|(?P<group>(?<=[0-9]),(?=[0-9]{3}(?![0-9])))|(?P<comma>[,;])"
    r"|(?P<word>(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|&(?!&))|(?P<cup>\\cup(?![a-z]))"
)
_MAYBE_SPACED = re.compile(r",\s|;|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_OPENING, _CLOSING = ("\\{", "\\langle"), ("\\}", "\\rangle")
_EQUALS_SIGN = re.compile(r"(?<![<>!=:~])=(?!=)")
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![a-z]) ?")
_MATRIX = re.compile(
    r"(?P<open>[\[(|]?) ?\\begin ?\{(?P<kind>[a-zA-Z]*matrix|array|cases)\}(?: ?\{[^{}]*\})?"
    r"(?P<rows>.*)\\end ?\{(?P=kind)\} ?(?P<close>[\])|]?)",
    re.DOTALL,
)
_FACTOR = re.compile(r"-?[0-9]+(?:/[0-9]+|\.[0-9]+)? ?(?=[(\[]? ?\\begin)|-(?= ?\\begin)")
_ROW_END = re.compile(r"\\\\(?: ?\[-?[0-9.]+ ?[a-z]{2}\])?|\\cr(?![a-z])")
_SUBSCRIPT = r"(?:_(?:\{[^{}]{1,12}\}|\w))?"
_LETTER = rf"(?:[A-Za-z]|\\(?!pi)[a-z]{{2,10}}){_SUBSCRIPT}'{{0,2}}"
_NAME = re.compile(
    rf"{_LETTER}"
    rf"|[fghpqPQRSTVWFGHAEN]{_SUBSCRIPT}(?:\^\{{?-1\}}?|'{{0,2}}) ?\([^()=]{{1,20}}\)"  # f(x), P(A)
    r"|\\(?:angle|triangle|overline|det|dim) ?\{? ?[A-Za-z ]{1,4}\}?|\|[A-Za-z ]{1,4}\|"
    r"|[A-Z]{2,4}"  # AB, the length of a line
    rf"|\( ?{_LETTER}(?: ?, ?{_LETTER})+ ?\)"  # (x, y)
    r"|[^\W\d_]{3,}(?:'s)?(?: [^\W\d_]+(?:'s)?){0,5}"  # total number of apples
)
_SUPPOSED = re.compile(
    r"(?:let|suppose|assum(?:e|ing)|if|when|not|(?:there is )?no(?! of\b))\b", re.IGNORECASE
)
_PRODUCT = re.compile(r"[abcxyz]{3}")
_CONNECTOR = re.compile(rf"{THEREFORE}|finally|then|next|now", re.IGNORECASE)
_SEVERAL_WORDS = re.compile(r"[^\W\d_]{2,}\W.*[^\W\d_]{2,}\W.*[^\W\d_]{2,}")
_TWO_WORDS = re.compile(r"[^\W\d_]{2,}\W.*[^\W\d_]{2,}")
_CALCULATED = re.compile(r"(?:[0-9)%]|[^\W\d_]{2}) ?[-+*/x] ?[$(]?\.?[0-9]")
_CALLED = re.compile(r"[^\W\d_]{2,} (?:[a-z]+ )?[A-Za-z]$")  # we get r = 4
_TURNED_INTERVAL = re.compile(r"(?=\]|.*\[$)([\[\]])([^\[\]]+)([\[\]])")  # ]1, 2]
_OR = re.compile(r"(?<![A-Za-z])or(?![A-Za-z])")
_TUPLE_NAME = re.compile(r"\( ?(.+) ?\)")

#: Solutions, each the value of every name: x = 3 or x = 5 are two of one name.
System = list[dict[str, str]]


@dataclass(frozen=True)
class Parts:
    """Parts in brackets, such as "(]": a tuple, an interval, a vector; order counts."""

    brackets: str
    items: tuple[str, ...]


def split_list(text: str) -> list[str] | None:
    r"""Returns the parts between commas, semicolons, and, or, \cup outside of brackets.

    None where there is only one part, or brackets do not match. A comma within a number such as
    1,234 separates where no other comma has a space after it.
    """
    groups_digits = _MAYBE_SPACED.search(text) is not None
    parts, depth, start = [], 0, 0
    for sign in _SEPARATOR.finditer(text):
        depth += _step(sign)
        if depth < 0:
            return None
        is_bracket = sign.lastgroup in ("open", "close", None)
        if depth == 0 and not is_bracket and not (sign.lastgroup == "group" and groups_digits):
            parts.append(text[start : sign.start()].strip())
            start = sign.end()
    parts = [part for part in [*parts, text[start:].strip()] if part]
    return parts if depth == 0 and 1 < len(parts) <= _MAX_PARTS else None


def _step(sign: re.Match[str]) -> int:
    """Returns how much deeper in brackets a text is after a sign: 1, -1 or 0."""
    if sign.lastgroup == "open" or sign[0] in _OPENING:
        return 1
    return -1 if sign.lastgroup == "close" or sign[0] in _CLOSING else 0


def read_list(text: str) -> list[str] | None:
    r"""Returns the parts of a list or set, whose order does not count, or None.

    `\pm` stands for both signs: `3 \pm 2` is 3 + 2 and 3 - 2.
    """
    inside = _inside(text, "\\{", "\\}") or _inside(text, "{", "}")
    if inside:
        return split_list(inside) or [inside]
    parts = split_list(text)
    if parts is not None:
        return [each for part in parts for each in _both_signs(part)]
    both = _both_signs(text)
    return both if len(both) > 1 else None


def _both_signs(text: str) -> list[str]:
    if not _PLUS_MINUS.search(text):
        return [text]
    signs = ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"})
    both = [_PLUS_MINUS.sub(lambda sign, each=each: each[sign[1]], text) for each in signs]
    return [re.sub(r"(^|[(\[{=,]\s*)\+", r"\1", each) for each in both]


def read_parts(text: str) -> Parts | None:
    """Returns a tuple, an interval or a vector, or None where the text is anything else."""
    for opened, closed in (
        ("(", ")"),
        ("[", "]"),
        ("(", "]"),
        ("[", ")"),
        ("\\langle", "\\rangle"),
    ):
        inside = _inside(text, opened, closed)
        if inside and (items := _split_commas(inside)):
            return Parts(opened + closed, tuple(items))
    if turned := _TURNED_INTERVAL.fullmatch(text):
        brackets = ("[" if turned[1] == "[" else "(") + ("]" if turned[3] == "]" else ")")
        return read_parts(f"{brackets[0]}{turned[2]}{brackets[1]}")
    return None


def _split_commas(text: str) -> list[str] | None:
    return None if re.search(r"(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])", text) else split_list(text)


def _inside(text: str, opened: str, closed: str) -> str:
    """Returns what stands in the one pair of brackets around all of the text, or ""."""
    if not (text.startswith(opened) and text.endswith(closed) and len(text) > len(opened)):
        return ""
    inside = text[len(opened) : -len(closed)].strip()
    depth = 0
    for sign in re.finditer(r"\\[{}]|\\[lr]angle(?![a-z])|[()\[\]{}]", inside):
        depth += 1 if sign[0] in (*_OPENING, "(", "[", "{") else -1
        if depth < 0:
            return ""
    return inside if depth == 0 else ""


def read_matrix(text: str) -> tuple[str, list[list[str]]] | None:
    """Returns what kind of brackets a matrix has, and its rows of cells; None for other answers.

    Round and square brackets are one kind, of which no other two are the same.
    """
    factor, text = _split_factor(text)
    match = _MATRIX.fullmatch(text)
    if match is None:
        return _read_rows(text)
    if "\\begin" in match["rows"]:
        return None
    brackets, kind = match["open"] + match["close"], match["kind"].replace("small", "")
    is_plain = kind in ("matrix", "array")
    if brackets not in (("", "[]", "()", "||") if is_plain else ("", "[]")):
        return None
    rows = [row for row in _ROW_END.split(match["rows"]) if row.strip()]
    cells = [[_times(factor, cell.strip()) for cell in row.split("&")] for row in rows]
    if is_plain and brackets == "||":
        return "vmatrix", cells
    return ("matrix" if kind in ("pmatrix", "bmatrix", "array") else kind, cells)


def _split_factor(text: str) -> tuple[str, str]:
    r"""Returns the number before a matrix, as in \frac{1}{5} \begin{pmatrix}, and the matrix."""
    match = _FACTOR.match(text)
    return (match[0].strip(), text[match.end() :]) if match else ("", text)


def _times(factor: str, cell: str) -> str:
    """Returns a cell of a matrix times the number before it, calculated where both are numbers."""
    if not factor:
        return cell
    try:
        return str(Fraction(factor) * Fraction(cell))
    except ValueError:
        return f"{factor} ({cell})"


def _read_rows(text: str) -> tuple[str, list[list[str]]] | None:
    """Returns what [[1, 2], [3, 4]] is as a matrix; None for other answers."""
    rows = read_list(_inside(text, "[", "]"))
    cells = [_inside(row, "[", "]") for row in rows or []]
    return ("matrix", [split_list(row) or [row] for row in cells]) if cells and all(cells) else None


def split_equation(text: str) -> list[str]:
    """Returns the sides of an equation; one for an answer without a sign of equality."""
    return [side.strip() for side in _EQUALS_SIGN.split(text)]


def is_name(text: str) -> bool:
    """Whether a text is the name of something that has a value: x, x_1, f(2), AB, total cost."""
    if _PRODUCT.fullmatch(text) or is_supposed(text):
        return False
    return _NAME.fullmatch(text) is not None


def is_supposed(text: str) -> bool:
    """Whether a side of an equation is only assumed, or denied: Let x, Suppose that x, no x."""
    return _SUPPOSED.match(text) is not None


def read_system(text: str) -> System | None:
    """Returns the solutions that `x = 1, y = 5`, `x = 3 or x = 5`, `x = 3 or 5` are.

    One equation that says what a name is, such as `x = 5` or `5 = x`, is a system, too. None for
    answers that do not say so, and for equations that are still to be solved.
    """
    if "=" not in text:
        return None
    given: list[tuple[str, str]] = []
    names: list[str] = []
    parts = split_list(text) or [text]
    for part in parts:
        sides = split_equation(part)
        if len(sides) > 1:
            names, part = _split_names(sides)  # noqa: PLW2901
        if not names or not part:
            return None
        values = _values_of(part, is_alone=len(parts) == 1)
        given += [(_plain_name(name), value) for value in values for name in names]
    solutions = _group(given)
    if len(solutions) == 1 and len(solutions[0]) > 1 and has_or(text):
        return None  # x = 1 or y = 5
    return _open_tuple(solutions)


def _values_of(value: str, *, is_alone: bool) -> list[str]:
    r"""Returns the values in the set of x \in \{3, 5\}, or those of both signs."""
    elements = split_list(_inside(value, "\\{", "\\}")) if is_alone else None
    return elements or _both_signs(value)


def told_value(text: str) -> str | None:
    """Returns "$36" of "So, 6 erasers and 8 pencils cost $12 + $24 = $36", a calculation in words.

    None where the words before the calculation may be values of their own.
    """
    parts = split_list(text)
    if parts is None or any(len(split_equation(part)) > 1 for part in parts[:-1]):
        return None
    *others, value = split_equation(parts[-1])
    if not others:
        return None
    left = others[-1]
    has_words = [
        bool(_CONNECTOR.fullmatch(each) or _SEVERAL_WORDS.search(each)) for each in parts[:-1]
    ]
    if _CALCULATED.search(left):
        return value if any(has_words) or _TWO_WORDS.search(left) else None
    return value if _CALLED.search(left) and all(has_words) else None


def has_or(text: str) -> bool:
    """Whether the parts of a list are alternatives."""
    return _OR.search(text) is not None


def _group(given: list[tuple[str, str]]) -> System:
    """Returns the solutions, of which a new one begins where a name comes again."""
    solutions: System = [{}]
    for name, value in given:
        if name in solutions[-1]:
            solutions.append({})
        solutions[-1][name] = value
    return solutions if all(each.keys() == solutions[0].keys() for each in solutions) else []


def _split_names(sides: list[str]) -> tuple[list[str], str]:
    """Returns the names that are given a value in a chain of equations, and the value."""
    *others, last = sides
    names = [side for side in others if is_name(side)]
    if names and is_name(others[0]):
        return names, last
    if len(sides) == 2 and re.fullmatch(_LETTER, last):
        return [last], others[0]
    return [], ""


def _plain_name(name: str) -> str:
    # Variables differ by case, words do not.
    name = re.sub(r"[\s{}]", "", name)
    return name.casefold() if re.fullmatch(r"[^\W\d_]{3,}", name) else name


def _open_tuple(system: System) -> System:
    """Returns {x: 2, y: 3} for (x, y) = (2, 3)."""
    if len(system) != 1 or len(system[0]) != 1:
        return system
    ((name, value),) = system[0].items()
    names = _TUPLE_NAME.fullmatch(name)
    parts = read_parts(value) if names else None
    if names is None or parts is None or parts.brackets != "()":
        return system
    each = [letter.strip() for letter in names[1].split(",")]
    return [dict(zip(each, parts.items, strict=True))] if len(each) == len(parts.items) else system
