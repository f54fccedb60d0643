"""Recipes that come with unspoken are listed, copied and found by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.paths import ROOT
from unspoken.cli.main import main
from unspoken.common.errors import RecipeError
from unspoken.recipe import load_recipe
from unspoken.recipe.shipped import (
    describe,
    find_config,
    find_recipe,
    shipped_configs,
    shipped_recipes,
)


def test_every_recipe_is_listed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert shipped_recipes().keys() == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    for name, path in {**shipped_recipes(), **shipped_configs()}.items():
        assert len(describe(path)) > 20
        assert sum(line.split()[:1] == [name] for line in lines) == 1


def test_a_recipe_is_copied_with_its_comments(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recipes", "quickstart"])
    assert capsys.readouterr().out == (ROOT / "recipes" / "quickstart.yaml").read_text()


def test_a_file_of_that_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("quickstart").name == "quickstart"
    (tmp_path / "quickstart").mkdir()
    assert find_recipe("quickstart") == shipped_recipes()["quickstart"]
    (tmp_path / "ddp").write_text("mine")
    assert find_config("ddp") == Path("ddp")
    assert find_config("fsdp2") == shipped_configs()["fsdp2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quikstart", "quikstart: no such recipe; did you mean quickstart?"),
        ("recipes/gsm8k-gtp2.yaml", "did you mean gsm8k-gpt2?"),
        ("xyz", "xyz: no such recipe; unspoken has curriculum-gpt2-medium, distill-qwen"),
        ("mine.yml", "did you mean mine.yaml?"),
    ],
)
def test_a_wrong_name_gets_suggestions(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("# a recipe\ndata:\n  task: gsm8k\n")
    with pytest.raises(RecipeError) as caught:
        find_recipe(name)
    assert expected in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RecipeError, match=r"run: found a folder; needed: a file with a recipe, "):
        find_recipe(tmp_path / "run")
    (tmp_path / "run" / "recipe.yaml").write_text("name: tried\n")
    with pytest.raises(RecipeError, match=r"name a file, such as .*run/recipe\.yaml$"):
        find_recipe(tmp_path / "run")


@pytest.mark.parametrize("name", ["settings.yml", ".pre-commit.yaml", ".pre-commit-config.yml"])
def test_only_recipes_are_suggested(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("colour: blue\n")
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\ndata: {}\n")
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        find_recipe(name)
    assert "settings.yaml" not in str(caught.value)
    assert "config.yaml" not in str(caught.value)
