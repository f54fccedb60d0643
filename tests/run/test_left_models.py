from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.adapters import base_model
from helpers.recipes import tiny_recipe
from unspoken.cli.main import call
from unspoken.common.errors import ModelError
from unspoken.models.fingerprint import weights_hash
from unspoken.recipe import recipe_from
from unspoken.recipe.evaluation_records import Latency
from unspoken.recipe.layout import has_weights
from unspoken.recipe.levels import level_folder
from unspoken.recipe.plan import plan
from unspoken.report.read.frontier import find_level_model
from unspoken.run.diagnose import diagnose_run
from unspoken.run.frontier import choose_in_run
from unspoken.run.left_models import was_adapter
from unspoken.run.run import run_recipe
from unspoken.run.starts import level_as_start

pytestmark = pytest.mark.integration


def recipe(folder: Path, **sections: Any) -> Any:
    """A student that learns with adapters, on a base model beside the run folder."""
    base = folder.parent / "base"
    if not base.is_dir():
        base_model(base)
    values = {
        "distil": {"max_steps": 4, "learning_rate": 1e-3},
        "schedule": {"delta": 40},
        "train": {"max_steps": 8},
        "frontier": {"levels": 1, "steps": 2},
        "baselines": {"no_cot": True, "untrained": True},
        "evaluate": {"limit": 4, "num_latency": 2},
    }
    whole = tiny_recipe(folder, **values).model_dump(mode="json", exclude_unset=True)
    own = {"model": {"name": str(base), "revision": "main"}, "lora": {"r": 2}}
    for name, section in sections.items():
        own[name] = {**whole[name], **section}
    return recipe_from({**whole, **own})


def run(wanted: Any, **options: Any) -> list[str]:
    """Runs a recipe; returns what is said."""
    said: list[str] = []
    run_recipe(wanted, progress=False, say=said.append, **options)
    return said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(recipe(folder))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, beside the same base model."""
    return shutil.copytree(finished, finished.parent / tmp_path.name)


def remove(training: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(training / name)


def test_nothing_is_done_where_nothing_needs_what_was_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = list(folder.rglob("model"))
    assert len(models) == 4  # of distilled, internalized and no_cot, and of a frontier's level
    for model in models:
        remove(model.parent, "model")
        if model.parent.name != "internalized":  # whose levels are a frontier's, too
            remove(model.parent, "levels")

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("a model is needed")

    monkeypatch.setattr("unspoken.run.student.load_model", never)
    monkeypatch.setattr("unspoken.run.measure.evaluate_folder", never)
    monkeypatch.setattr("unspoken.run.frontier.ask", never)
    monkeypatch.setattr("unspoken.run.latency.load_single_questions", never)
    said = run(recipe(folder))
    assert not any("running" in line for line in said), said
    note = f"note: {folder / 'distilled' / 'model'} is not there any more"
    assert any(line.startswith(note) for line in said)
    assert not (folder / "distilled" / "model").exists()


def test_levels_that_were_asked_already_are_chosen_from_without_their_weights(
    folder: Path,
) -> None:
    weights = list((folder / "internalized" / "levels").glob("*/*.safetensors"))
    assert len(weights) > 2
    for file in weights:
        file.unlink()
    assert not any("running" in line for line in run(recipe(folder)))
    frontier = plan(recipe(folder)).frontiers[0]
    said: list[str] = []
    levels, _ = choose_in_run(folder, frontier, progress=False, say=said.append)
    assert all(level.validation for level in levels)
    assert not said


def test_a_level_with_the_same_weights_stands_in(folder: Path) -> None:
    model = folder / "distilled" / "model"
    before = weights_hash(model)
    remove(model.parent, "model")
    said = run(recipe(folder, train={"learning_rate": 0.01}))
    assert f"{model}: was not there any more; put back from {model.parent / 'levels'}" in " ".join(
        said
    )
    assert "distil: done" in said
    assert any(line.startswith("internalize: running again (train.learning_rate") for line in said)
    assert weights_hash(model) == before


def test_a_level_stands_in_where_a_run_is_exported_or_diagnosed(
    folder: Path, tmp_path: Path
) -> None:
    own = folder / "internalized" / "model"
    level = level_folder(own.parent, "all")
    before = weights_hash(own)
    assert weights_hash(level) == before
    remove(own.parent, "model")
    frontier = plan(recipe(folder)).frontiers[0]
    assert find_level_model(folder, frontier, "all") == level
    call(["export", str(folder), "--level", "all", "--output", str(tmp_path / "served")])
    found = diagnose_run(folder, frontier, limit=4)
    assert found.model_sha256 == before
    remove(folder / "distilled", "model", "levels")
    with pytest.raises(ModelError, match=r"a diagnosis looks into it.*from=distil"):
        diagnose_run(folder, frontier, limit=4)


def test_who_needs_it_is_named_before_anything_is_set_aside(folder: Path) -> None:
    remove(folder / "distilled", "model", "levels")
    changed = recipe(folder, train={"learning_rate": 0.01})
    with pytest.raises(ModelError) as caught:
        run(changed)
    message = str(caught.value)
    assert f"{folder / 'distilled' / 'model'}: is not there any more" in message
    assert "internalize goes on from it; put the folder back, or train it again with" in message
    assert "from=distil, which keeps what is there in old" in message
    assert (folder / "internalized" / "model").is_dir()
    assert not (folder / "old").exists()
    assert not any("running" in line for line in run(recipe(folder)))


def test_a_mistyped_model_sets_nothing_aside(folder: Path) -> None:
    mistyped = folder.parent / "nothing" / "bsae"
    with pytest.raises(ModelError, match=r"no such folder; correct the path in model\.name, or "):
        run(recipe(folder).model_copy(update={"model": recipe(folder).model.model_copy(
            update={"name": str(mistyped)})}))  # fmt: skip
    assert (folder / "distilled" / "model").is_dir()
    assert not (folder / "old").exists()


def test_answers_that_hold_stay_and_others_need_it(folder: Path) -> None:
    model = folder / "no_cot" / "model"
    remove(model.parent, "model", "levels")
    said = run(recipe(folder), start="evaluate")
    stays = f"evaluate (no_cot): stays as it is, because {model} is not there any more"
    assert stays in said
    assert "evaluate (internalized): running" in said
    timed = Latency.read(folder / "latency" / "latency.json")
    assert timed is not None
    assert timed.not_timed == {"no_cot": "whose model was removed"}
    assert "Not timed:" in (folder / "report.html").read_text()
    assert not any("running" in line for line in run(recipe(folder)))
    with pytest.raises(ModelError, match=r"because evaluate \(no_cot\) asks it.*baselines"):
        run(recipe(folder, evaluate={"limit": 3}))


def test_a_level_whose_weights_were_removed_is_none_to_start_from(tmp_path: Path) -> None:
    """Its other files alone were taken for a model, and replaced one that was whole."""
    level = level_folder(tmp_path / "internalized", "0000")
    level.mkdir(parents=True)
    (level / "config.json").write_text("{}")
    alone: Any = SimpleNamespace(path=tmp_path, on_main=lambda make: make(), share=lambda: None)
    assert level_as_start(alone, tmp_path / "internalized", "0000") is None
    (level / "model.safetensors").write_bytes(b"weights")
    assert level_as_start(alone, tmp_path / "internalized", "0000") is not None


def test_weights_that_are_cut_off_are_no_removed_ones(tmp_path: Path) -> None:
    assert not has_weights(tmp_path / "model")
    (tmp_path / "model").mkdir()
    assert not has_weights(tmp_path / "model")
    (tmp_path / "stage.json").write_text(json.dumps({"settings": {"lora": {"r": 2}}}))
    assert was_adapter(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    assert has_weights(tmp_path / "model")
    assert not was_adapter(tmp_path / "model")
