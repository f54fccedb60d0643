"""A model for every budget: levels trained until they are good, measured, chosen and exported."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from helpers.recipes import read, tiny_recipe
from unspoken.cli.main import call
from unspoken.common.errors import DataError, SettingError
from unspoken.measure.stats import percentile
from unspoken.recipe.evaluation_records import Choice, Choices, Evaluation, Latency
from unspoken.recipe.plan import plan
from unspoken.recipe.sections import Frontier
from unspoken.report.read.frontier import Level, find_level_model, read_levels
from unspoken.report.read.run import read_run
from unspoken.run.frontier import choose_in_run, pick, spread
from unspoken.run.run import run_recipe


def level(name: str, accuracy: float | None, tokens: float) -> Level:
    graded = 0 if accuracy is None else 100
    measured = Evaluation(
        num_questions=100,
        num_graded=graded,
        num_correct=round(100 * (accuracy or 0)),
        accuracy=accuracy,
        mean_tokens=tokens,
    )
    return Level(name, Path(name), Path(name), validation=measured)


LEVELS = [
    level("0000", 0.95, 17.0),
    level("0003", 0.97, 14.0),
    level("0007", 0.94, 10.0),
    level("0009", 0.80, 8.0),
    level("all", 0.80, 7.0),
]


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [
        ({"within": 0}, "0003"),
        ({"within": 2}, "0003"),
        ({"within": 3}, "0007"),
        ({"within": 100}, "all"),
        ({"tokens": 17}, "0003"),
        ({"tokens": 13.9}, "0007"),
        ({"tokens": 8}, "all"),  # as good and shorter
        ({"tokens": 7}, "all"),
    ],
)
def test_a_level_is_chosen_by_validation(rule: dict[str, float], chosen: str) -> None:
    choice = pick(LEVELS, **rule)
    assert choice is not None
    assert choice.level == chosen
    assert {choice.rule: choice.value} == rule


def test_of_two_that_write_as_much_the_better_one_is_chosen() -> None:
    two = [level("0001", 0.80, 9.0), level("0002", 0.81, 9.0), level("0003", 0.79, 9.0)]
    for rule in ({"within": 5}, {"tokens": 9}):
        assert (choice := pick(two, **rule)) is not None and choice.level == "0002"


@pytest.mark.parametrize(("best", "other"), [(0.8, 0.7), (0.9, 0.8), (1.0, 0.9), (0.3, 0.2)])
def test_ten_points_below_is_within_ten_points(best: float, other: float) -> None:
    """Though 0.8 - 0.1 is a little more than 0.7."""
    choice = pick([level("0000", best, 9.0), level("all", other, 2.0)], within=10)
    assert choice is not None
    assert choice.level == "all"


def test_without_a_rule_nothing_is_chosen() -> None:
    assert pick(LEVELS) is None


def test_what_cannot_be_chosen_is_said() -> None:
    with pytest.raises(SettingError, match=r"tokens: found 6; needed: at least 7"):
        pick(LEVELS, tokens=6)
    for points in (-1.0, 101.0, float("nan")):
        with pytest.raises(SettingError, match=r"within: found .*; needed: 0 to 100 points"):
            pick(LEVELS, within=points)
    with pytest.raises(SettingError, match="one of the two"):
        pick(LEVELS, within=2, tokens=8)
    for tokens in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match=r"tokens: found .*; needed: a finite number, above"):
            pick(LEVELS, tokens=tokens)
    with pytest.raises(DataError, match="no gold answers"):
        pick([level("all", None, 7.0)], within=2)


def test_the_least_tokens_that_are_named_can_be_given() -> None:
    """21.04523809 as %g is 21.0452, which is too few again."""
    levels = [level("all", 0.9, 21.04523809)]
    with pytest.raises(SettingError, match=r"at least [\d.]+: ") as caught:
        pick(levels, tokens=6)
    least = float(str(caught.value).partition("at least ")[2].partition(":")[0])
    assert pick(levels, tokens=least) is not None


def test_a_rule_without_sense_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    frontier = plan(tiny_recipe(tmp_path)).frontiers[0]
    for within, tokens in ((2, 8), (101, None)):  # of a run that has nothing yet
        with pytest.raises(SettingError, match="within"):
            choose_in_run(tmp_path / "none", frontier, within=within, tokens=tokens)


def test_one_choice_is_kept_for_each_rule() -> None:
    kept = Choices()
    for rule, value, name in (("within", 2, "0003"), ("tokens", 8, "all"), ("within", 2, "0007")):
        kept = kept.having(Choice(rule, value, name))  # pyright: ignore[reportArgumentType]
    assert [(one.rule, one.level) for one in kept.choices] == [
        ("tokens", "all"),
        ("within", "0007"),
    ]


@pytest.mark.parametrize("count", range(1, 12))
def test_levels_to_train_are_spread_between_the_ends(count: int) -> None:
    names = [f"{number:04d}" for number in range(1, 10)]
    found = spread(names, count)
    assert len(found) == len(set(found)) == min(count, 9)
    assert found == sorted(found)
    ends = [0, *map(int, found), 10]
    apart = [after - before for before, after in itertools.pairwise(ends)]
    assert max(apart) - min(apart) <= 1


def test_the_plan_has_a_frontier_where_a_thought_is_removed_bit_by_bit(tmp_path: Path) -> None:
    def explicit_of(**sections: Any) -> list[Path | None]:
        return [one.explicit for one in plan(tiny_recipe(tmp_path, **sections)).frontiers]

    assert explicit_of() == [None]
    assert explicit_of(distil={"max_steps": 8}) == [Path("distilled")]
    assert explicit_of(baselines={"explicit": "train"}) == [Path("explicit")]
    assert explicit_of(distil={"max_steps": 8}, internalize=False) == []
    assert explicit_of(schedule={"removal": "all"}) == []


def frontier_recipe(folder: Path, positions: str = "natural") -> Any:
    return tiny_recipe(
        folder,
        distil={"max_steps": 4, "settle_steps": None},
        schedule={"delta": 12, "positions": positions},
        frontier={"levels": 2, "steps": 5},
    )


@pytest.fixture(scope="module", params=["natural", "gap"])
def finished(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run_recipe(frontier_recipe(folder, request.param), progress=False)
    return folder


@pytest.mark.integration
def test_levels_are_trained_on_in_copies_and_all_are_measured(finished: Path) -> None:
    trained = sorted(path.parent.name for path in finished.glob("frontier/*/stage.json"))
    kept = sorted(
        path.name.removeprefix("removed-")
        for path in (finished / "internalized" / "levels").iterdir()
    )
    internalized = read(finished / "internalized" / "stage.json")
    longest = internalized["longest_thought"]
    assert trained == spread([f"{number:04d}" for number in range(1, longest)], 2)
    for name in trained:
        stage = read(finished / "frontier" / name / "stage.json")
        assert (stage["level"], stage["state"]["step"]) == (name, 5)
        assert stage["started_from"] == "internalized"
        assert stage["settings"]["model"]["sha256"] == internalized["model_sha256"]
    frontier = plan(frontier_recipe(finished)).frontiers[0]
    levels = read_levels(finished, frontier)
    assert [one.name for one in levels] == sorted({*kept, *trained})
    assert [one.name for one in levels if one.num_steps] == ["0000", *trained, "all"]
    assert levels[0].model == finished / "distilled" / "model"
    assert levels[-1].model == finished / "internalized" / "model"
    for one in levels:
        assert one.validation is not None
        assert one.validation.num_graded == 20
        assert one.validation.split == "valid"
        assert one.validation.latency_p50_s == percentile(one.seconds, 50) > 0
    timed = Latency.read(finished / "frontier" / "latency.json")
    assert timed is not None and list(timed.models) == [one.name for one in levels]
    assert len({len(one.seconds) for one in levels}) == 1  # the same questions, in turns
    for one in levels:
        answers = (finished / "frontier" / one.name / "validation_predictions.jsonl").read_text()
        tokens = [json.loads(line)["num_tokens"] for line in answers.splitlines()]
        assert timed.models[one.name].num_tokens == tokens[: len(one.seconds)]
    (cost,) = [one for one in read_run(finished).costs if one.name == "frontier"]
    assert (cost.done, cost.note) == (True, "2 levels, 10 steps")
    for name in trained:  # the copies, and not what they are copies of
        assert "frontier" in str(find_level_model(finished, frontier, name))
        as_asked = f"level-{int(name)}"
        assert find_level_model(finished, frontier, as_asked).parent.name == name


def test_levels_of_a_run_that_is_not_done_are_asked_for_with_the_way_to_them(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my run"
    frontier = plan(frontier_recipe(folder)).frontiers[0]
    told = r"no finished training; .*; finish the run first: unspoken run '.*/my run/recipe\.yaml'"
    with pytest.raises(DataError, match=told):
        find_level_model(folder, frontier, "7")


@pytest.mark.integration
def test_a_copy_of_a_level_is_no_level(finished: Path) -> None:
    frontier = plan(frontier_recipe(finished)).frontiers[0]
    before = read_levels(finished, frontier)
    copies = [*finished.glob("internalized/levels/removed-0*"), *finished.glob("frontier/0*")]
    copies = [shutil.copytree(one, one.with_name(f"{one.name}.old")) for one in copies]
    assert read_levels(finished, frontier) == before
    for one in copies:
        shutil.rmtree(one)


@pytest.mark.integration
def test_a_model_with_a_gap_is_moved_back_before_its_level_is_trained(tmp_path: Path) -> None:
    """One step of a learning rate near 0 leaves what the internalized model was."""
    recipe = frontier_recipe(tmp_path, "gap")
    train = recipe.train.model_copy(update={"learning_rate": 1e-9})
    changed = {"frontier": Frontier(levels=1, steps=1), "train": train}
    run_recipe(recipe.model_copy(update=changed), progress=False)
    (name,) = [path.parent.name for path in tmp_path.glob("frontier/*/stage.json")]
    tables = [
        load_file(folder / "model.safetensors")["transformer.wpe.weight"]
        for folder in (tmp_path / "internalized" / "model", tmp_path / "frontier" / name / "model")
    ]
    start = len("12*34=")
    gone, kept = read(tmp_path / "internalized" / "stage.json")["longest_thought"], int(name)

    def whole(table: torch.Tensor, removed: int) -> torch.Tensor:
        """The table as it was before its rows were moved for so many tokens."""
        end = len(table) - removed
        return torch.cat([table[:start], table[end:], table[start:end]])

    assert torch.allclose(whole(tables[0], gone), whole(tables[1], kept), atol=1e-6)


@pytest.mark.integration
def test_a_second_run_does_nothing(finished: Path) -> None:
    positions = "gap" if '"positions": "gap"' in (
        finished / "internalized" / "stage.json"
    ).read_text() else "natural"  # fmt: skip
    said: list[str] = []
    run_recipe(frontier_recipe(finished, positions), progress=False, say=said.append)
    assert said[-1].startswith("nothing to do")


@pytest.mark.integration
def test_the_test_questions_are_asked_of_chosen_levels_once(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frontier = plan(frontier_recipe(finished)).frontiers[0]
    assert not list(finished.glob("frontier/*/evaluation.json"))
    middle = next(one for one in read_levels(finished, frontier) if one.name == "0003")
    assert middle.validation is not None
    monkeypatch.setattr(
        "unspoken.run.frontier.pick", lambda *_, **__: Choice("within", 2, middle.name)
    )
    said: list[str] = []
    levels, chosen = choose_in_run(finished, frontier, within=2, progress=False, say=said.append)
    assert chosen is not None
    assert chosen.test is not None
    assert (chosen.test.split, chosen.test.num_graded) == ("test", 30)
    assert said == [f"evaluate (frontier/{middle.name}): running"]
    asked = [one.name for one in levels if one.test is not None]
    assert asked == ["0000", middle.name, "all"]  # those at the ends, by the run itself
    monkeypatch.setattr("unspoken.run.frontier.ask", lambda *_, **__: pytest.fail("asks again"))
    assert choose_in_run(finished, frontier, within=2, progress=False)[1] == chosen
    (marked,) = [one for one in read_run(finished).phases[0].levels if one.choices]
    assert marked.choices == (Choice("within", 2, middle.name),)


@pytest.mark.integration
def test_a_folder_that_cannot_be_written_is_chosen_from_as_it_is(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rights do not hold root back, so the folder says that it cannot be written."""
    files = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    monkeypatch.setattr("os.access", lambda path, mode: False)
    call(["choose", str(finished), "--within", "2"])
    told = capsys.readouterr().out
    assert f"{finished}: cannot be written, so nothing more is measured" in told
    assert "(within 2 points)" in told
    assert "export it: unspoken export" in told
    for verb in ("report", "diagnose"):
        with pytest.raises(DataError, match="or copy the run and name the copy"):
            call([verb, str(finished)])
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == files


@pytest.mark.integration
def test_the_verbs_choose_and_export_a_level_that_answers_as_it_was_measured(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(["choose", str(finished), "--within", "100"])
    told = capsys.readouterr().out
    assert "VALIDATION questions" in told
    assert "within 100 points" in told
    assert f"unspoken export {finished} --level" in told
    page = (finished / "report.html").read_text()
    assert "Levels of removal to choose from" in page
    assert "within 100 points" in page
    name = sorted(path.parent.name for path in finished.glob("frontier/*/stage.json"))[0]
    call(["export", str(finished), "--level", str(int(name)), "--output", str(tmp_path / "served")])
    asked = [
        "--input",
        str(finished / "data" / "valid.jsonl"),
        "--output",
        str(tmp_path / "answers"),
    ]
    call(["evaluate", "--base_model", str(tmp_path / "served"), "--dtype", "float32", *asked])
    recorded = finished / "frontier" / name / "validation_predictions.jsonl"
    for one, other in zip(
        (tmp_path / "answers").read_text().splitlines(),
        recorded.read_text().splitlines(),
        strict=True,
    ):
        assert json.loads(one)["generated"] == json.loads(other)["generated"]
    call(["export", str(finished), "--output", str(tmp_path / "whole")])
    weights = [
        (folder / "model.safetensors").read_bytes()
        for folder in (tmp_path / "whole", finished / "internalized" / "model")
    ]
    assert len(weights[0]) == len(weights[1])
    call(["export", f"{finished}:distilled", "--output", str(tmp_path / "student")])
    own = finished / "distilled" / "model" / "model.safetensors"
    assert (tmp_path / "student" / "model.safetensors").stat().st_size == own.stat().st_size
    with pytest.raises(SettingError, match="level: found 9999; needed: one of 0000"):
        call(["export", str(finished), "--level", "9999", "--output", str(tmp_path / "none")])
    with pytest.raises(SettingError, match=r"level: found 0 with .*:distilled, which is a model"):
        named = f"{finished}:distilled"
        call(["export", named, "--level", "0", "--output", str(tmp_path / "none")])
    with pytest.raises(SettingError, match="not the folder of a run"):
        model = str(finished / "internalized" / "model")
        call(["export", model, "--level", "7", "--output", str(tmp_path / "none")])


@pytest.mark.integration
def test_levels_that_were_timed_one_by_one_are_timed_anew_in_turns(finished: Path) -> None:
    """As `unspoken run` did it before; what they answered stays."""
    file = finished / "frontier" / "latency.json"
    before = file.read_bytes()
    file.unlink()
    frontier = plan(frontier_recipe(finished)).frontiers[0]
    assert not any(one.seconds for one in read_levels(finished, frontier))
    said: list[str] = []
    levels, _ = choose_in_run(finished, frontier, progress=False, say=said.append)
    assert said == ["latency (frontier): running"]
    assert all(one.seconds for one in levels)
    assert read(file)["settings"] == json.loads(before)["settings"]
