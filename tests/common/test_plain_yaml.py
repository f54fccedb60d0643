"""YAML as plain values: what is read, and what is refused in one short line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from helpers.paths import CONFIGS, RECIPES
from unspoken.common.errors import RecipeError
from unspoken.common.plain_yaml import read_yaml

_NESTED = "".join(f"{name}: &{name} [{before}]\n" for name, before in zip(
    "bcdefghij", (", ".join([f"*{name}"] * 10) for name in "abcdefghi"), strict=True
))  # fmt: skip
BOMB = f"a: &a [{', '.join(['x'] * 10)}]\n{_NESTED}"


@pytest.mark.parametrize(
    "path", [*RECIPES.glob("*.yaml"), *CONFIGS.glob("*.yaml")], ids=lambda path: path.stem
)
def test_what_comes_with_unspoken_reads_as_before_but_for_numbers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    def as_text(value: object) -> object:
        if isinstance(value, dict):
            return {key: as_text(each) for key, each in value.items()}
        if isinstance(value, list):
            return [as_text(each) for each in value]
        return float(value) if isinstance(value, str) and "e-" in value[:3] else value

    assert read_yaml(text, "here")[0] == as_text(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E3", -2000.0),
        (".5", 0.5),
        ("-.INF", -math.inf),
        ("1e400", math.inf),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0b11", 3),
        ("017", "017"),
        ("1:30", "1:30"),
        ("1:30:00.5", "1:30:00.5"),
        ("2024-01-01", "2024-01-01"),
        ("off", False),
        ("Yes", True),
        ("~", None),
        ("", None),
        ("=", "="),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("{2: a}", {2: "a"}),
        (r'{"\ud83d\ude00": "a \ud83d\ude00"}', {"\U0001f600": "a \U0001f600"}),  # as JSON has it
        ("[&one {a: 1}, {<<: *one, b: 2}]", [{"a": 1}, {"a": 1, "b": 2}]),
        ("[&one {a: 1}, {<<: [*one, {a: 2, c: 3}]}]", [{"a": 1}, {"a": 1, "c": 3}]),
        ("[&one {a: 1}, {<<: *one, a: 2}]", [{"a": 1}, {"a": 2}]),
    ],
)  # fmt: skip
def test_plain_values_are_read_as_they_are(text: str, value: object) -> None:
    found = read_yaml(text, "here")[0]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"here:3: found 'a' a second time; it stands in line 1, too"),
        ("x: {a: 1, 'a': 2}", "here:1: found 'a' a second time"),
        (f"a: {'9' * 5000}", "a number of 5000 digits; needed: one that 64 bits hold"),
        (f"a: -{2**63}", "needed: one that 64 bits hold"),
        (BOMB, r"here:\d+: found aliases of aliases that stand for more than a recipe can hold"),
        ("a: &a [*a]", "an alias within what it stands for"),
        ("a: &a {b: &b [*a]}", "an alias within what it stands for"),
        ("[" * 10_000, "nested deeper than 30 levels"),
        ("{a: " * 10_000, "nested deeper than 30 levels"),
        ("- " * 10_000, "nested deeper than 30 levels"),
        ("? " * 10_000, "nested deeper than 30 levels"),
        ("\n".join(f"a{i}: &a{i} [*a{i - 1}]" if i else "a0: &a0 []" for i in range(99)), "30 lev"),
        (f"[{', '.join(['1'] * 50_000)}]", "more than 20,000 values"),
        ("x" * 2_000_000, "found 2,000,000 characters"),
        ("a: !!set {b}", "the tag 'tag:yaml.org,2002:set'"),
        ("a: !!binary aGk=", "the tag"),
        ("a: !!timestamp 2024-01-01", "the tag"),
        ("a: !!python/object/apply:os.system [id]", "the tag"),
        ("a: !mine b", "the tag '!mine'"),
        ("a: !!int b", "found 'b' as !!int"),
        ("a: !!bool 3", "found '3' as !!bool"),
        ("? [1]\n: 2", "the key a list; needed: a name"),
        ("null: 1", "the key 'null'"),
        ("1.5: 1", "the key '1.5'"),
        ("<<: 3", "<< with something that is no mapping"),
        (r'a: "\0"', r"the character '\\x00' in a text"),
        (r'a: "\ud800"', r"the character '\\ud800' in a text"),
        ("a: \x01", "special characters are not allowed"),
        ("a: [", "here:1: not YAML"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("%YAML 9.9\n---\na", "incompatible"),
    ],
)
def test_what_is_refused_is_told_in_one_short_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_yaml(text, "here")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
