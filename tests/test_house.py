"""What holds the house together, beside the order of imports that `make check` looks at."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from helpers.paths import ROOT
from helpers.processes import Forked

SOURCE = ROOT / "src" / "unspoken"
PACKAGES = {
    "common", "recipe", "data", "models", "measure", "teach", "parallel", "train", "report", "run",
    "check", "launch", "cli",
}  # fmt: skip
FILES = sorted(SOURCE.rglob("*.py"))


def test_there_are_thirteen_packages_and_no_loose_module() -> None:
    here = {path for path in SOURCE.iterdir() if path.name != "__pycache__"}
    assert {path.name for path in here if path.is_dir()} == PACKAGES
    assert {path.name for path in here if path.is_file()} == {
        "__init__.py", "__main__.py", "py.typed",
    }  # fmt: skip


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(SOURCE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_unit_test_starts_no_process_by_forking_either() -> None:
    with pytest.raises(AssertionError, match="mark it integration"):
        Forked("-m", "unspoken", "--help")
