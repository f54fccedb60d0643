"""Names that nothing has lead to what is there and spelled nearly so."""

from __future__ import annotations

from pathlib import Path

import pytest

from unspoken.common.nearby import nearest_name, nearest_path, path_remedy


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, its data and what stands beside it."""
    for folder in ("runs/quickstart/data", "runs/second", "runs/.quickstrat"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("runs/quickstart/data/train.jsonl", "runs/quickstart/data/test.jsonl"):
        (tmp_path / file).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runs/quickstrat", "runs/quickstart"),
        ("runs/QuickStart", "runs/quickstart"),
        ("run/quickstart", "runs/quickstart"),
        ("rnus/quikstart/data/trian.jsonl", "runs/quickstart/data/train.jsonl"),
        ("runs/quickstart/data/test.json", "runs/quickstart/data/test.jsonl"),
        ("./runs/quickstrat/", "runs/quickstart"),
        ("runs/something else", ""),
        ("elsewhere/quickstart", ""),
        ("runs/quickstart/data/train.jsonl/x", ""),
        ("q" * 5_000, ""),
        ("runs/\0", ""),
    ],
)
def test_a_path_is_looked_for_part_by_part(there: Path, typed: str, meant: str) -> None:
    assert nearest_path(typed) == meant
    assert nearest_path(there / typed) == (str(there / meant) if meant else "")


def test_only_what_fits_is_meant(there: Path) -> None:
    (there / "runs" / "quickstrat.txt").write_text("")
    assert nearest_path("runs/quickstrat.tx") == "runs/quickstrat.txt"
    assert nearest_path("runs/quickstrat.tx", Path.is_dir) == "runs/quickstart"
    assert nearest_path("runs/quickstart", Path.is_file) == "runs/quickstrat.txt"
    assert nearest_path("runs/second", Path.is_file) == nearest_path("", Path.is_dir) == ""


def test_the_remedy_is_a_question_where_something_is_near(there: Path) -> None:
    assert path_remedy("runs/secnod") == "did you mean runs/second?"
    assert path_remedy("runs/third") == "correct the path"
    assert path_remedy("runs/third", "make it") == "make it"


def test_names_are_compared_without_their_capitals() -> None:
    assert nearest_name("ASK", ["ask", "run"]) == "ask"
    assert nearest_name("askk", ["Ask", "run"]) == "Ask"
    assert nearest_name("download", ["ask", "run"]) is None
