"""YAML as plain values: text, numbers, lists and mappings, of a size that can be looked through.

What YAML 1.1 reads in ways that nobody means is text here (1:30 is no 90, 2024-01-01 no date), 1e-4
is a number, and what could hang or surprise is refused in one short line: keys that stand twice,
aliases that grow, deep nesting, tags, numbers beyond 64 bits.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from unspoken.common.errors import RecipeError

#: What a file may have; recipes have a hundredth of it.
_MOST_SIGNS, _MOST_VALUES, _DEEPEST = 1_000_000, 20_000, 30
_TAG = "tag:yaml.org,2002:"
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_TRUTH = yaml.constructor.SafeConstructor.bool_values


class _Loader(yaml.SafeLoader):
    """Composes nodes, but no more and no deeper than may be."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 (as the base class has it)
    _depth = _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._count += 1
        if self._depth > _DEEPEST or self._count > _MOST_VALUES:
            what = f"nested deeper than {_DEEPEST} levels"
            if self._count > _MOST_VALUES:
                what = f"more than {_MOST_VALUES:,} values"
            raise yaml.MarkedYAMLError(None, None, what, self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern, _first in (
    ("bool", "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _TRUTH), "yYnNtTfFoO"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?"
     r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+.0123456789"),
    ("merge", "<<", "<"),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def read_yaml(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    """The values in a YAML text, and where they stand in it.

    Args:
        text: one document.
        where: it comes from, for messages.

    Returns:
        None, text, bool, int, float, lists, and dicts with keys of text or whole numbers; and the
        node of the whole, or None for an empty text.

    Raises:
        RecipeError: it is no YAML, or holds what is refused here; the message names the line.
    """
    if len(text) > _MOST_SIGNS:
        raise RecipeError(
            f"{where}: found {len(text):,} characters; needed: at most {_MOST_SIGNS:,}; name "
            "another file"
        )
    try:
        node = _Loader(text).get_single_node()
        if node is None:
            return None, None
        _measure(node, {})
        return _plain(node), node
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise RecipeError(f"{where}{line}: not YAML ({problem:.200}); mend this line") from None
    except _RefusedError as error:
        raise RecipeError(f"{where}:{error}") from None


class _RefusedError(Exception):
    """A node that is YAML, but nothing that a setting could be."""


def _refuse(node: yaml.Node, found: str, remedy: str) -> NoReturn:
    raise _RefusedError(f"{node.start_mark.line + 1}: found {found}; needed: {remedy}")


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Values and levels below a node, its aliases written out.

    An anchor stands before its aliases, so what an alias means is known but within itself.
    """
    if id(node) in known:
        size, depth = known[id(node)]
        if not size:
            _refuse(node, "an alias within what it stands for", "values that end; write them out")
        return size, depth
    known[id(node)] = (0, 0)
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [each for pair in node.value for each in pair]
    size, depth = 1, 0
    for child in children:
        more, deep = _measure(child, known)
        size, depth = size + more, max(depth, deep)
        if size > _MOST_VALUES or depth >= _DEEPEST:
            _refuse(
                node,
                "aliases of aliases that stand for more than a recipe can hold",
                f"at most {_MOST_VALUES:,} values in {_DEEPEST} levels; write them out",
            )
    known[id(node)] = (size, depth + 1)
    return size, depth + 1


def _plain(node: yaml.Node) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_plain(each) for each in node.value]
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node)
    if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
        try:
            value = _SCALARS[kind](node.value)
        except (ValueError, KeyError):
            _refuse(node, f"{node.value[:40]!r} as !!{kind}", "a value of this kind; correct it")
        _check(node, value)
        return value
    return _refuse(node, f"the tag {node.tag[:60]!r}", "plain values; leave the tag out")


def _mapping(node: yaml.MappingNode) -> dict[Any, Any]:
    lines: dict[Any, int] = {}
    values: dict[Any, Any] = {}
    merged: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == f"{_TAG}merge":
            merged = {**_merged(value_node), **merged}
            continue
        key = _plain(key_node)
        if not isinstance(key, str | int) or isinstance(key, bool):
            shown = f"{key_node.value!r:.40}" if isinstance(key_node.value, str) else "a list"
            _refuse(key_node, f"the key {shown}", "a name; put it in quotes")
        if key in lines:
            _refuse(
                key_node,
                f"{str(key)[:60]!r} a second time; it stands in line {lines[key]}, too",
                "every key once; delete one of them",
            )
        lines[key] = key_node.start_mark.line + 1
        values[key] = _plain(value_node)
    return {**merged, **values}


def _merged(node: yaml.Node) -> dict[Any, Any]:
    """What `<<` takes over: a mapping, or several of which the first counts."""
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    values: dict[Any, Any] = {}
    for part in parts:
        if not isinstance(part, yaml.MappingNode):
            _refuse(node, "<< with something that is no mapping", "an alias of a mapping")
        values = {**_mapping(part), **values}
    return values


def _check(node: yaml.Node, value: Any) -> None:
    if isinstance(value, str):
        bad = next((sign for sign in value if sign == "\0" or "\ud800" <= sign <= "\udfff"), None)
        if bad is not None:
            _refuse(node, f"the character {bad!r} in a text", "text that files can hold")
    elif isinstance(value, int) and value.bit_length() > 63:
        _refuse(node, f"a number of {len(node.value)} digits", "one that 64 bits hold; correct it")


def _text(text: str) -> str:
    """The two halves that JSON writes a sign beyond U+FFFF in, as that sign."""
    return _HALVES.sub(lambda two: two[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _whole(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if len(digits) <= 100 else 1 << 64


_SCALARS: dict[str, Any] = {
    "str": _text,
    "null": lambda text: None,
    "bool": lambda text: _TRUTH[text.lower()],
    "int": _whole,
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.replace("_", "").lower())),
}
