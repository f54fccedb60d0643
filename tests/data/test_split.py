"""Questions divided into files: sizes, shares of a field, and no question on both sides."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from unspoken.cli.main import call
from unspoken.common.errors import DataError, SettingError
from unspoken.data.jsonl import read_jsonl
from unspoken.data.leaks import normalize
from unspoken.data.split import split_records


def tickets(number: int = 100) -> list[dict[str, str]]:
    kinds = ["billing", "login", "login", "other", "login"]
    return [
        {"question": f"Ticket {n}: it does not work", "answer": kinds[n % 5]} for n in range(number)
    ]


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ({"test": 0.2}, {"train": 80, "test": 20}),
        ({"test": 30, "valid": 0.1}, {"train": 60, "valid": 10, "test": 30}),
        ({"test": 0, "valid": 1}, {"train": 99, "valid": 1}),
        ({}, {"train": 100}),
        ({"test": 0.001}, {"train": 99, "test": 1}),
        ({"test": 0.07}, {"train": 93, "test": 7}),  # 0.07 * 100 is a little more than 7
        ({"test": 99}, {"train": 1, "test": 99}),
    ],
)
def test_sizes_are_shares_or_numbers(sizes: dict[str, float], counts: dict[str, int]) -> None:
    parts = split_records(tickets(), sizes)
    assert {name: len(part) for name, part in parts.items()} == counts
    together = [record["question"] for part in parts.values() for record in part]
    assert sorted(together) == sorted(record["question"] for record in tickets())


def test_the_seed_decides_and_nothing_else() -> None:
    first, again, other = (
        split_records(tickets(), {"test": 0.5}, seed=seed)["test"] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_field_has_the_same_share_in_every_file() -> None:
    parts = split_records(tickets(), {"test": 0.2, "valid": 0.1}, by="answer")
    for part in parts.values():
        shares = Counter(record["answer"] for record in part)
        assert shares["login"] == 0.6 * len(part)
        assert shares["billing"] == shares["other"] == 0.2 * len(part)


@pytest.mark.parametrize(
    ("kinds", "number", "counts"),
    [
        ("aaaabbc", 3, {"a": 2, "b": 1}),  # 1.7, 0.9 and 0.4
        ("ccccbba", 3, {"c": 2, "b": 1}),  # whatever they are called
        ("abbb", 2, {"b": 2}),  # 0.5 and 1.5: the more frequent one
        ("aaab", 2, {"a": 2}),
    ],
)
def test_what_is_over_goes_to_the_largest_remainders(
    kinds: str, number: int, counts: dict[str, int]
) -> None:
    records = [{"question": f"{n}?", "answer": kind} for n, kind in enumerate(kinds)]
    test = split_records(records, {"test": number}, by="answer")["test"]
    assert Counter(record["answer"] for record in test) == counts


def test_a_question_that_is_repeated_or_written_otherwise_stays_on_one_side() -> None:
    records = [
        *tickets(20),
        *({**each, "question": each["question"].upper()} for each in tickets()),
    ]
    parts = split_records(records, {"test": 0.5})
    sides = [{normalize(record["question"]) for record in part} for part in parts.values()]
    assert not sides[0] & sides[1]
    assert sum(map(len, parts.values())) == len(records)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"test": 100}, "fewer than the 100 different questions"),
        ({"test": 0.5, "valid": 0.5}, "left to train with"),
        ({"test": -1}, "a share of the questions"),
        ({"test": 1.5}, "or a whole number"),
        ({"valid": float("nan")}, "valid"),
        ({"valid": float("inf")}, "valid"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, float], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        split_records(tickets(), sizes)


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="record 1: kind: missing; found the fields question"):
        split_records(tickets(), {"test": 1}, by="kind")


def test_a_table_becomes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "tickets.csv"
    rows = [f'"{each["question"]}",{each["answer"]},7,so it is' for each in tickets(10)]
    rows.append(rows[0])
    table.write_text("\n".join(["text,queue,priority,why", *rows]) + "\n")
    fields = ["--question_field", "text", "--answer_field", "queue", "--by", "queue"]
    fields += ["--thought_field", "why"]
    call(["data", "split", "--input", str(table), "--output", str(tmp_path / "out"), *fields])
    out = capsys.readouterr().out
    assert re.search(r"test\.jsonl: [23] examples", out)
    assert "1 of them ask again what an earlier one asks" in out
    counts = re.findall(r"(\w+) (\d+)", re.findall(r"^queue: (.*)$", out, re.MULTILINE)[0])
    assert sum(int(count) for _, count in counts) == 11
    read = {
        name: list(read_jsonl(tmp_path / "out" / f"{name}.jsonl")) for name in ("train", "test")
    }
    assert len(read["train"]) + len(read["test"]) == 11
    assert set(read["test"][0][1]) == {"question", "answer", "thought", "priority"}
