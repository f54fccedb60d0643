"""Names of other programs: those that errors know are those of the document, and ours exist."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from helpers.paths import ROOT
from unspoken.recipe import Recipe
from unspoken.recipe.counterparts import COUNTERPARTS
from unspoken.recipe.explain import find_key

PAGE = re.sub("</?code>", "`", (ROOT / "docs" / "other-programs.md").read_text(encoding="utf-8"))
TABLES = PAGE.split("\n## ")[1:]


def names(column: int, *tables: str) -> set[str]:
    """What stands in backticks in a column of these tables."""
    rows = [row for table in tables for row in re.findall(r"^\| .+", table, re.MULTILINE)]
    cells = [row.split("|")[column] for row in rows]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_what_errors_know_is_what_the_document_has() -> None:
    told = names(1, *TABLES[:2])
    assert set(COUNTERPARTS) <= told
    unknown = {name for name in told - set(COUNTERPARTS) if find_key(name, Recipe) is None}
    assert not unknown


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_the_document_names_the_same_setting_beside_it(name: str) -> None:
    meant = COUNTERPARTS[name]
    rows = [row for table in TABLES[:2] for row in re.findall(r"^\| .+", table, re.MULTILINE)
            if f"`{name}`" in row.split("|")[1]]  # fmt: skip
    assert rows
    assert not meant.key or any(f"`{meant.key}" in row for row in rows)
    assert meant.key or meant.note


@pytest.mark.parametrize("key", sorted({each.key for each in COUNTERPARTS.values() if each.key}))
def test_our_setting_exists(key: str) -> None:
    section = Recipe
    for part, _ in pairwise([*key.split("."), ""]):
        field = section.model_fields[part]
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((kind for kind in kinds if hasattr(kind, "model_fields")), section)


def test_no_name_of_ours_is_taken_for_another_programs() -> None:
    assert {name for name in COUNTERPARTS if find_key(name, Recipe)} <= {"model"}
