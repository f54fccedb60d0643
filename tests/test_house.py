"""What holds the house together, beside the order of imports that `make check` looks at."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from helpers.paths import ROOT
from helpers.processes import Forked

SOURCE = ROOT / "src" / "unspoken"
PACKAGES = {
    "common", "recipe", "data", "models", "measure", "teach", "parallel", "train", "report", "run",
    "check", "launch", "cli",
}  # fmt: skip
FILES = sorted(SOURCE.rglob("*.py"))
#: Of a named tuple and a notebook, which call them so.
PUBLIC = {"_replace", "_asdict", "_fields", "_repr_html_"}


def test_there_are_thirteen_packages_and_no_loose_module() -> None:
    here = {path for path in SOURCE.iterdir() if path.name != "__pycache__"}
    assert {path.name for path in here if path.is_dir()} == PACKAGES
    assert {path.name for path in here if path.is_file()} == {
        "__init__.py", "__main__.py", "py.typed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if ">>> " in path.read_text(encoding="utf-8")
    ],
)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(SOURCE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def is_private(name: str) -> bool:
    return re.match(r"_[^_]", name) is not None and name not in PUBLIC


def private_names() -> set[str]:
    """The names that begin with an underscore of what unspoken defines or sets."""
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return set(filter(is_private, names))


def reached_into(tree: ast.AST, private: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of each private name of unspoken's that is imported, asked for or replaced."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("unspoken"):
                words = [*module.split("."), *(alias.name for alias in node.names)]
                yield from ((node.lineno, word) for word in words if is_private(word))
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass  # a test's own
            case ast.Attribute(attr=name) if name in private:
                yield node.lineno, name
            case ast.Constant(value=str(name)) if name.rpartition(".")[2] in private:
                yield node.lineno, name  # as monkeypatch.setattr takes it


def test_no_test_or_benchmark_reaches_into_what_is_private() -> None:
    private = private_names()
    assert len(private) > 500
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in ("tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in reached_into(ast.parse(path.read_text(encoding="utf-8")), private)
    ]
    assert found == [], "give the code a seam, or test it through what is public"


@pytest.mark.parametrize(
    "code",
    [
        "from unspoken.run.diagnose import _Look",
        "from unspoken._inner import look",
        "look._hidden_here()",
        'monkeypatch.setattr(memory, "_hidden_here", 3)',
        'monkeypatch.setattr("unspoken.common.memory._hidden_here", 3)',
    ],
)
def test_each_way_of_reaching_into_what_is_private_is_found(code: str) -> None:
    assert list(reached_into(ast.parse(code), {"_hidden_here"}))


def test_what_is_private_to_a_test_or_public_is_no_reaching_into() -> None:
    code = "self._hidden_here; row._replace(a=1); other._left; from torch import _dynamo"
    assert not list(reached_into(ast.parse(code), {"_hidden_here"}))


def test_a_unit_test_starts_no_process_by_forking_either() -> None:
    with pytest.raises(AssertionError, match="mark it integration"):
        Forked("-m", "unspoken", "--help")


def test_every_benchmark_that_is_run_can_be_asked_for_help() -> None:
    """One that takes no flags began its minutes of work where --help was given."""
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")]
    run = [text for text in scripts if '__name__ == "__main__"' in text]
    assert len(run) > 8
    assert all("ArgumentParser(" in text for text in run)
