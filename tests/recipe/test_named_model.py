"""The names that a model of a run has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from unspoken.common.errors import DataError, ModelError
from unspoken.recipe.levels import level_folder, tokens_gone
from unspoken.recipe.named_model import find_model, find_run, models_of
from unspoken.recipe.records import TrainingRecord


def make_run(folder: Path, *models: str, **values: object) -> Path:
    data = {"task": "multiplication", "digits": [[3, 2], [2, 2]]}
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": "mine", "data": data, **values}))
    for model in models:
        (folder / model).mkdir(parents=True)
    return folder


EVERY = ("internalized/model", "distilled/model", "teacher/model", "no_cot/model",
         "internalized/levels/removed-0000", "internalized/levels/removed-0007",
         "internalized/levels/removed-all")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("", "internalized/model"),
        (":internalized", "internalized/model"),
        (":explicit", "distilled/model"),
        (":distilled", "distilled/model"),
        (":teacher", "teacher/model"),
        (":no_cot", "no_cot/model"),
        (":level-7", "internalized/levels/removed-0007"),
        (":level-0007", "internalized/levels/removed-0007"),
        (":level-0", "internalized/levels/removed-0000"),
        (":level-all", "internalized/levels/removed-all"),
    ],
)
def test_every_model_of_a_run_has_a_name(tmp_path: Path, name: str, place: str) -> None:
    run = make_run(tmp_path / "run", *EVERY)
    found = find_model(f"{run}{name}")
    assert (found.source, found.run) == (str(run / place), run)
    assert (found.task, found.sizes) == ("multiplication", ((3, 2), (2, 2)))


@pytest.mark.parametrize("phases", [(), ("1-short", "2-words")])
def test_a_level_that_was_trained_on_counts_before_what_training_left(
    tmp_path: Path, phases: tuple[str, ...]
) -> None:
    run = make_run(tmp_path / "run", phases=[{"name": key[2:]} for key in phases])
    key = phases[-1] if phases else ""
    training, frontier = run / "internalized" / key, run / "frontier" / key
    for level in ("0003", "0004", "0007"):
        (training / "levels" / f"removed-{level}").mkdir(parents=True)
    TrainingRecord(status="done", model_sha256="now").write(training / "stage.json")
    for level, sha256, status in (
        ("0003", "now", "done"), ("0004", "before", "done"), ("0005", "now", "done"),
        ("0007", "now", "running"),
    ):  # fmt: skip
        (frontier / level / "model").mkdir(parents=True)
        record = {"version": 1, "status": status, "settings": {"model": {"sha256": sha256}}}
        (frontier / level / "stage.json").write_text(json.dumps(record))
    found = {name: find_model(f"{run}:level-{name}").source for name in "3457"}
    kept = training / "levels"
    assert found == {
        "3": str(frontier / "0003" / "model"),
        "4": str(kept / "removed-0004"),  # trained on from another internalized model
        "5": str(frontier / "0005" / "model"),
        "7": str(kept / "removed-0007"),
    }
    assert models_of(run) == ["level-3", "level-4", "level-5", "level-7"]


def test_the_names_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", *EVERY)
    names = models_of(run)
    assert set(names) >= {"internalized", "explicit", "teacher", "no_cot", "level-0", "level-7"}
    assert all(find_model(f"{run}:{name}").run == run for name in names)
    with pytest.raises(ModelError, match=r"no such model \(level-9\); it has .*level-7"):
        find_model(f"{run}:level-9")
    with pytest.raises(ModelError, match="no finished model"):
        find_model(make_run(tmp_path / "empty"))


def test_the_explicit_model_is_the_baseline_or_the_student_or_the_level_before_removal(
    tmp_path: Path,
) -> None:
    places = ("explicit/model", "distilled/model", "internalized/levels/removed-0000")
    for number in range(len(places)):
        run = make_run(tmp_path / str(number), *places[number:])
        assert find_model(f"{run}:explicit").source == str(run / places[number])


def test_without_internalizing_a_run_is_the_student_that_writes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "distilled/model")
    assert find_model(run).source == str(run / "distilled/model")


@pytest.mark.parametrize(
    ("left", "values"),
    [
        (["internalized/levels/removed-0000"], {}),
        (["distilled/model", "internalized/checkpoint-3"], {}),
        (
            ["internalized/1-a/model", "explicit/1-a/model"],
            {"phases": [{"name": "a"}, {"name": "b"}]},
        ),
    ],
)
def test_a_run_that_is_half_done_is_no_other_model_of_it(
    tmp_path: Path, left: list[str], values: dict[str, object]
) -> None:
    run = make_run(tmp_path / "run", *left, **values)
    with pytest.raises(ModelError, match=r"has not finished internalizing.*run:explicit"):
        find_model(run)
    assert find_model(f"{run}:explicit").run == run


def test_of_a_model_that_was_removed_its_level_stands_in(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", "internalized/levels/removed-all", "distilled/levels/removed-0000"
    )
    for training, level in (("internalized", "all"), ("distilled", "0000")):
        TrainingRecord(status="done", level=level).write(run / training / "stage.json")
        (level_folder(run / training, level) / "model.safetensors").touch()
    assert find_model(run).source == str(run / "internalized/levels/removed-all")
    assert find_model(f"{run}:explicit").source == str(run / "distilled/levels/removed-0000")
    assert "internalized" in models_of(run)
    (run / "internalized/levels/removed-all/model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"internalized.model is not there any more.*run:explicit"):
        find_model(run)
    (run / "internalized/model").mkdir()
    (run / "internalized/model/model.safetensors").touch()
    assert find_model(run).source == str(run / "internalized/model")


def test_of_several_phases_the_last_one_counts(tmp_path: Path) -> None:
    phases = [{"name": "short"}, {"name": "words", "data": {"task": "gsm8k"}}]
    places = [f"internalized/{key}/model" for key in ("1-short", "2-words")]
    run = make_run(tmp_path / "run", *places, "teacher/model", phases=phases)
    assert find_model(f"{run}:teacher").task == "multiplication"
    found = find_model(run)
    assert (found.source, found.task, found.sizes) == (str(run / places[1]), "gsm8k", ())
    first = find_model(run / places[0])
    assert (first.task, first.run) == ("multiplication", run)


def test_phases_of_an_earlier_recipe_do_not_count(tmp_path: Path) -> None:
    phases = [{"name": "short"}, {"name": "words"}]
    places = [f"internalized/{key}/model" for key in ("1-short", "2-other", "2-words", "3-long")]
    run = make_run(tmp_path / "run", *places, phases=phases)
    assert find_model(run).source == str(run / "internalized/2-words/model")
    (run / "internalized/2-words/model").rename(run / "internalized/2-words/checkpoint-8")
    with pytest.raises(ModelError, match="the run has not finished internalizing"):
        find_model(run)


def test_a_single_phase_has_no_folder_of_its_own(tmp_path: Path) -> None:
    phases = [{"name": "only", "data": {"digits": [[4, 4]]}}]
    found = find_model(make_run(tmp_path / "run", "internalized/model", phases=phases))
    assert (found.task, found.sizes) == ("multiplication", ((4, 4),))


def test_a_folder_a_file_and_a_name_on_the_hub_stand_for_themselves(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "model.gguf", "gpt2", "owner/model", "owner/model:tag"):
        found = find_model(name)
        assert (found.source, found.run, found.task) == (str(name), None, None)


def test_a_run_is_named_as_its_recipe_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "runs" / "mine", *EVERY)
    monkeypatch.chdir(tmp_path)
    assert find_model("mine:explicit").source == "runs/mine/distilled/model"
    (tmp_path / "mine").mkdir()  # what is there counts first
    assert find_model("mine").source == "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("explict", "Or finish the run, where it is not done: unspoken run RUN/recipe.yaml"),
        ("level7", "did you mean RUN:level-7? Or finish"),
        ("Teacher", "did you mean RUN:teacher? Or finish"),
        ("level-3", "name one of them as RUN:NAME, or finish"),  # a number is no slip
        ("untrained", "name one of them as RUN:NAME, or finish"),
    ],
)
def test_a_mistyped_model_of_a_run_is_guessed(tmp_path: Path, name: str, told: str) -> None:
    run = make_run(tmp_path / "run", *EVERY)
    with pytest.raises(ModelError, match=re.escape(told.replace("RUN", str(run)))):
        find_model(f"{run}:{name}")


@pytest.mark.parametrize(
    ("level", "removed", "title"),
    [
        ("all", 9, "internalized"),
        ("0010", 10, "internalized"),
        ("0004", 4, "partly internalized"),
        ("0000", 0, "not internalized"),
        ("0004", None, "partly internalized"),  # an older record has the level alone
        ("0010", None, "internalized"),
    ],
)
def test_a_model_with_some_thought_left_is_not_called_internalized(
    tmp_path: Path, level: str, removed: int | None, title: str
) -> None:
    run = make_run(tmp_path / "run", *EVERY)
    record = TrainingRecord(level=level, tokens_removed=removed, longest_thought=10)
    record.write(run / "internalized" / "stage.json")
    assert find_model(run).title == find_model(f"{run}:internalized").title == title
    assert find_model(f"{run}:teacher").title == "teacher"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, and one in which nothing has run."""
    make_run(tmp_path / "runs" / "mine", *EVERY)
    make_run(tmp_path / "runs" / "quickstart2", *EVERY)
    (tmp_path / "runs" / "minne").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["runs/mine", "mine", "mine:level-7", "runs/mine/"])
def test_a_run_is_found_by_its_folder_or_its_recipe(runs: Path, name: str) -> None:
    assert find_run(name) == Path("runs/mine")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("runs/mien", "no such folder; .*; did you mean runs/mine?"),
        ("mien", "did you mean runs/mine?"),
        ("rusn/mine", "did you mean runs/mine?"),
        ("runs/minne", "no recipe.yaml in it; .*; did you mean runs/mine?"),
        ("runs/mine/internalized", "no recipe.yaml in it; .*; did you mean RUNS/mine?"),
        ("runs/mien:level-7", "did you mean runs/mine:level-7?"),
        ("runs/gsm8k-gpt2", "no such folder; .*; make it first: unspoken run gsm8k-gpt2"),
        ("quickstart", "did you mean runs/quickstart2? Or make it first: unspoken run quickstart"),
        ("runs/xyz", "needed: a folder that unspoken run made; name one, such as runs/quickstart"),
    ],
)
def test_what_is_no_run_is_told_with_the_run_that_was_meant(
    runs: Path, name: str, told: str
) -> None:
    expected = told.replace("RUNS", str(runs / "runs")).replace("?", r"\?")
    with pytest.raises(DataError, match=f"^{name}: .*{expected}$"):
        find_run(name)


@pytest.mark.parametrize(
    ("level", "longest", "known", "gone"),
    [
        ("all", 9, {}, 9),
        ("0003", 9, {"tokens_removed": 7}, 7),
        ("0012", 9, {"tokens_removed": 12}, 9),
        ("0003", 9, {}, 3),
        ("0003", 9, {"settings": {"schedule": {"unit": "step"}}}, None),
        ("0003", None, {}, None),
    ],
)
def test_older_records_tell_the_tokens_that_are_gone_where_a_level_counts_them(
    level: str, longest: int | None, known: dict[str, Any], gone: int | None
) -> None:
    assert tokens_gone(TrainingRecord(level=level, longest_thought=longest, **known)) == gone
