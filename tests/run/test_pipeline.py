"""Whole runs of tiny recipes, and folders and recipes that are none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from safetensors.torch import load_file

from helpers.paths import RECIPES
from helpers.recipes import WEIGHTS, read, run, tiny_gpt2, tiny_recipe, write_sums
from unspoken.check.recipe import check_recipe
from unspoken.common.errors import (
    DataError,
    ModelError,
    OutputExistsError,
    RecipeError,
    SettingError,
)
from unspoken.common.locks import locked
from unspoken.measure.latency import Taken
from unspoken.models.load import load_tokenizer
from unspoken.recipe import Model, dump_recipe, load_recipe, load_to_run, recipe_from
from unspoken.recipe.evaluation_records import Latency
from unspoken.recipe.layout import require_run_folder
from unspoken.report.read.run import read_run
from unspoken.report.show.summary import summary_lines
from unspoken.run.api import run as run_api
from unspoken.run.run import run_recipe

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both baselines."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return run(tiny_recipe(folder, baselines=True, schedule={"delta": 40}))


def test_a_run_leaves_everything_that_a_reader_needs(finished: Path) -> None:
    for variant in ("internalized", "explicit", "no_cot"):
        stage = read(finished / variant / "stage.json")
        assert stage["status"] == "done"
        assert stage["state"]["step"] == 24
        evaluation = read(finished / variant / "evaluation.json")
        assert evaluation["num_graded"] == 30
        assert evaluation["settings"]["split"] == "test"
        assert len((finished / variant / "predictions.jsonl").read_text().splitlines()) == 30
        assert (finished / variant / "model" / "model.safetensors").exists()
    assert read(finished / "explicit" / "stage.json")["level"] == "0000"
    assert read(finished / "no_cot" / "stage.json")["level"] == "all"
    environment = read(finished / "environment.json")
    assert environment["command"] == "unspoken run tiny"
    assert {"versions", "git_revision", "machine", "seed", "data"} <= environment.keys()
    assert set(environment["data"][0]) == {"train", "valid", "test"}
    for name in ("report.html", "report.json", "recipe.yaml"):
        assert (finished / name).exists()


def test_plain_transformers_answers_as_we_do(finished: Path) -> None:
    """In a Python in which unspoken cannot be imported, on the documented prompt."""
    code = f"""
import json, sys
sys.modules["unspoken"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
for variant in ("internalized", "explicit", "no_cot"):
    folder = {str(finished)!r} + "/" + variant
    tokenizer = AutoTokenizer.from_pretrained(folder + "/model")
    model = AutoModelForCausalLM.from_pretrained(folder + "/model")
    for line in open(folder + "/predictions.jsonl"):
        record = json.loads(line)
        inputs = tokenizer(record["question"].replace(" ", "") + "=", return_tensors="pt")
        size = inputs["input_ids"].shape[1]
        output = model.generate(**inputs)[0, size:]
        answer = tokenizer.decode(output, skip_special_tokens=True)
        assert answer == record["generated"], (variant, record)
        assert len(output) == record["num_tokens"], (variant, record)
    print(variant)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["internalized", "explicit", "no_cot"]


def test_a_second_run_does_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    assert len(before) > 3
    monkeypatch.setattr(
        "unspoken.run.student.load_model", lambda *_, **__: pytest.fail("trains again")
    )
    monkeypatch.setattr(
        "unspoken.run.measure.evaluate_folder", lambda *_, **__: pytest.fail("asks again")
    )
    said: list[str] = []
    run_recipe(load_recipe(finished / "recipe.yaml"), progress=False, say=said.append)
    assert said[-1].startswith("nothing to do: every stage")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


def test_files_that_the_run_would_write_over_are_no_data(tmp_path: Path) -> None:
    train = tmp_path / "run" / "data" / "train.jsonl"
    train.parent.mkdir(parents=True)
    write_sums(train, range(90))
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json")
    values["data"] = {"task": "jsonl", "train": str(train)}
    before = train.read_bytes()
    with pytest.raises(DataError, match=r"lies in .*data, which this run writes"):
        run_recipe(recipe_from(values), overwrite=True, progress=False)
    assert train.read_bytes() == before


def test_models_are_timed_in_one_pass_at_the_end(tmp_path: Path) -> None:
    """Other questions to time leave every answer as it is, and new answers are timed anew."""
    few = {"max_steps": 4, "evaluate_every": 4, "checkpoint_every": 4}
    recipe = tiny_recipe(tmp_path, train=few, baselines={"no_cot": True, "untrained": True})
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert said[-1] == "latency: running"
    path = tmp_path / "latency" / "latency.json"
    known = Latency.read(path)
    assert known is not None
    assert list(known.models) == ["internalized", "no_cot", "untrained"]
    assert all(len(one.seconds) == len(one.num_tokens) == 2 for one in known.models.values())
    assert known.turns is None
    predictions = tmp_path / "internalized" / "predictions.jsonl"
    written = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert known.models["internalized"].num_tokens == [one["num_tokens"] for one in written[:2]]
    assert "latency_p50_s" not in (tmp_path / "internalized" / "evaluation.json").read_text()
    before = predictions.stat().st_mtime_ns

    said.clear()
    run_recipe(recipe, progress=False, say=said.append)
    assert said[-1].startswith("nothing to do")
    other = recipe.model_copy(
        update={"evaluate": recipe.evaluate.model_copy(update={"num_latency": 3})}
    )
    said.clear()
    run_recipe(other, progress=False, say=said.append)
    assert [line for line in said if line.endswith("running")] == ["latency: running"]
    assert predictions.stat().st_mtime_ns == before
    again = Latency.read(path)
    assert again is not None and len(again.models["no_cot"].seconds) == 3
    assert "models taking turns" not in "\n".join(
        summary_lines(tmp_path)
    )  # too few for an interval
    assert "timed in one pass at the end" in (tmp_path / "report.json").read_text()


def test_a_signal_while_models_are_timed_leaves_the_rest_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"max_steps": 4})

    def stopped(*_: object, **more: Any) -> Taken:
        signal.raise_signal(signal.SIGTERM)
        assert more["stopping"]()
        return Taken({}, None)

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("unspoken.run.latency.take_turns", stopped)
        with pytest.raises(SystemExit) as ended:
            run_recipe(recipe, progress=False, say=said.append)
    assert ended.value.code == 75
    assert not (tmp_path / "latency" / "latency.json").exists()
    said.clear()
    run_recipe(recipe, progress=False, say=said.append)
    assert [line for line in said if line.endswith("running")] == ["latency: running"]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"no recipe.yaml.*which replaces report.html"):
        run(tiny_recipe(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_explicit_model_from_before_the_removal(tmp_path: Path) -> None:
    baselines = {"explicit": "before_removal", "no_cot": False}
    folder = run(tiny_recipe(tmp_path / "run", baselines=baselines, schedule={"delta": 40}))
    card = read(folder / "explicit" / "model" / "unspoken.json")
    assert card["removed"] == 0
    assert read(folder / "explicit" / "evaluation.json")["num_graded"] == 30


def test_your_own_files_and_the_leak_check(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "task": "jsonl",
        "train": str(write_sums(tmp_path / "train.jsonl", range(200))),
        "valid": str(write_sums(tmp_path / "valid.jsonl", range(200, 220))),
        "test": str(write_sums(tmp_path / "test.jsonl", range(210, 230))),
    }
    recipe = tiny_recipe(tmp_path / "run", data=data)
    with pytest.raises(DataError, match=r"210 \+ 1"):
        run(recipe)
    assert not (tmp_path / "run" / "internalized").exists()
    folder = run(tiny_recipe(tmp_path / "run", data={**data, "allow_leaks": True}))
    assert read(folder / "internalized" / "evaluation.json")["num_graded"] == 20


def test_a_run_that_removes_steps_records_the_tokens_that_they_had(tmp_path: Path) -> None:
    fields = {"thought": "12345\n67\n8", "answer": "2"}
    lines = [json.dumps({"question": f"{number} ?", **fields}) for number in range(16)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    data = {"task": "jsonl", "train": str(tmp_path / "train.jsonl"), "num_valid": 0}
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json")
    values |= {"data": data, "baselines": {"explicit": "off"}}
    values["schedule"] |= {"unit": "step", "delta": 1}
    values["train"] |= {"max_steps": 2}
    folder = run(recipe_from(values))
    record = read(folder / "internalized" / "stage.json")
    assert (record["level"], record["tokens_removed"], record["longest_thought"]) == ("0001", 6, 10)
    outcome = read(folder / "report.json")["phases"][0]["outcome"]
    assert outcome["sentence"].startswith("not internalized: 6 of 10 tokens removed")


def test_classes_are_measured_and_a_test_question_that_stands_twice_is_asked_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write(name: str, numbers: Sequence[int]) -> str:
        lines = [{"question": f"{n} ?", "thought": f"{n} , 2", "answer": n % 2} for n in numbers]
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        path = tmp_path / f"{name}.jsonl.zst"
        path.write_bytes(pyarrow.Codec("zstd").compress(content).to_pybytes())
        return str(path)

    data = {"task": "jsonl", "train": write("train", range(90)), "choices": [0, 1]}
    data["test"] = write("test", [*range(100, 120), 100, 101])
    options: dict[str, Any] = {"data": data, "evaluate": {"only_choices": True, "num_latency": 1}}
    options["baselines"] = {"untrained": True}
    folder = run(tiny_recipe(tmp_path / "run", **options))
    assert "2 of its lines have a question of an earlier one" in caplog.text
    for name in ("internalized", "untrained"):
        classes = read(folder / name / "evaluation.json")["classes"]
        assert sum(map(sum, classes["confusion"].values())) == 20
        assert classes["num_outside"] == 0
    assert read(folder / "internalized" / "model" / "unspoken.json")["choices"] == ["0", "1"]
    assert "Classes: " in (folder / "report.html").read_text()
    said: list[str] = []
    run_recipe(tiny_recipe(tmp_path / "run", **options), progress=False, say=said.append)
    assert any("nothing to do" in line for line in said)
    bad = {**data, "test": write("bad", [101]), "choices": ["0", "2"]}
    with pytest.raises(DataError, match=r"answer: found '1'; needed: one of the choices '0, 2'"):
        run(tiny_recipe(tmp_path / "other", **{**options, "data": bad}))


def test_a_training_file_alone_is_split_for_validation(tmp_path: Path) -> None:
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json")
    train = write_sums(tmp_path / "train.jsonl", range(90))
    values["data"] = {"task": "jsonl", "train": str(train)}
    folder = run(recipe_from(values))
    evaluation = read(folder / "internalized" / "evaluation.json")
    assert (evaluation["settings"]["split"], evaluation["num_graded"]) == ("valid", 9)
    assert read(folder / "internalized" / "stage.json")["num_train"] == 81
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 90


def test_questions_of_an_earlier_phase_are_a_leak(tmp_path: Path) -> None:
    phases = [
        {"name": "a", "data": {"digits": [[1, 2], [2, 2]], "num_train": 4000}},
        {"name": "b", "data": {"digits": [[2, 2]], "num_train": 3000}},
    ]
    for _ in range(2):  # the second time the data are done, and nothing may learn from them either
        with pytest.raises(DataError, match=r"train of phase 1"):
            run(tiny_recipe(tmp_path / "run", phases=phases))
    assert not (tmp_path / "run" / "internalized").exists()


def test_a_phase_may_have_several_thoughts_of_a_question(tmp_path: Path) -> None:
    phases = []
    for name, base in (("a", 0), ("b", 50)):
        rows = [
            {"question": f"{n}+1=", "cot": f"{how} {n}\nFinal Answer: {n + 1}", "answer": n + 1}
            for n in range(base, base + 20)
            for how in ("after", "behind")
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
        phases.append({"name": name, "data": {"train": str(tmp_path / f"{name}.jsonl")}})
    data = {"task": "jsonl", "digits": [], **phases[0]["data"]}
    train = {"max_steps": 2, "evaluate_every": 2}
    made = {"data": data, "train": train, "evaluate": {"num_latency": 0}}
    folder = run(tiny_recipe(tmp_path / "run", phases=phases, **made))
    assert [read(folder / f"data/{key}/stage.json")["repeats"] for key in ("1-a", "2-b")] == [
        True,
        True,
    ]
    phases[1]["data"]["test"] = phases[0]["data"]["train"]
    with pytest.raises(DataError, match=r"train of phase 1"):
        run(tiny_recipe(tmp_path / "leak", phases=phases, **made))


def test_without_validation_the_last_model_is_final(tmp_path: Path) -> None:
    data = {"task": "jsonl", "train": str(write_sums(tmp_path / "train.jsonl", range(9)))}
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json")
    values["data"] = {**data, "test": str(write_sums(tmp_path / "test.jsonl", range(60, 70)))}
    folder = run(recipe_from(values))
    assert read(folder / "internalized" / "evaluation.json")["num_graded"] == 10


def test_questions_without_gold_answers_are_asked_and_timed(tmp_path: Path) -> None:
    train = str(write_sums(tmp_path / "train.jsonl", range(20)))
    (tmp_path / "test.jsonl").write_text('{"question": "90+9="}\n{"question": "91+9="}\n')
    data = {"task": "jsonl", "digits": [], "train": train, "test": str(tmp_path / "test.jsonl")}
    made = {"data": data, "train": {"max_steps": 2, "evaluate_every": 2}}
    folder = run(tiny_recipe(tmp_path / "run", baselines={"no_cot": True}, **made))
    measured = read_run(folder).phases[0].measured()
    assert [(one.accuracy, one.num_graded, one.num_questions) for one in measured] == 2 * [
        (None, 0, 2)
    ]
    assert "2 questions that have no gold answers" in (folder / "report.html").read_text()


def test_phases_hand_one_model_on(tmp_path: Path) -> None:
    phases = [
        {"name": "small", "data": {"digits": [[1, 2]], "num_train": 300}},
        {"name": "larger", "schedule": {"delta": 80}},
    ]
    baselines = {"explicit": "train", "no_cot": True, "untrained": True}
    folder = run(tiny_recipe(tmp_path / "run", phases=phases, baselines=baselines))
    assert read_run(folder).missing == []
    for phase in read_run(folder).phases:
        assert {*phase.latency.models} == {each.name for each in phase.shown}
        asked = {each.name: each.measured.settings["data_sha256"] for each in phase.shown}
        assert asked["untrained"] == asked["internalized"]
    for variant in ("internalized", "explicit", "no_cot"):
        stages = [read(folder / variant / name / "stage.json") for name in ("1-small", "2-larger")]
        assert stages[0]["settings"]["model"]["config"]["n_layer"] == 1
        assert stages[1]["settings"]["model"]["name"].endswith(f"{variant}/1-small/model")
        assert (folder / variant / "2-larger" / "evaluation.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        "multiplication-4x4-scratch",
        "multiplication-9x9-gpt2",
        "gsm8k-gpt2",
        "gsm8k-mistral-7b",
        "curriculum-gpt2-medium",
        "smollm2-gpu",
        "smollm2-think",
    ],
)
def test_shipped_recipes_run_end_to_end_on_a_tiny_model(
    name: str, tmp_path: Path, shared_data: Path
) -> None:
    """One override takes the tiny model; the others only make it short."""
    short = [
        "train.max_steps=6",
        "train.batch_size=4",
        "train.micro_batch_size=2",
        "train.num_valid=2",
        "data.num_train=200",
        "data.num_test=4",
        "data.max_length=900",
        f"data.source={shared_data / 'gsm8k'}",
        "evaluate.limit=2",
        "evaluate.max_new_tokens=8",
        "evaluate.num_latency=1",
        f"output={tmp_path / 'run'}",
    ]
    model = f"model.name={tiny_gpt2(tmp_path / 'tiny')}"
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*short, model])
    assert any("steps: at most 6" in finding.text for finding in check_recipe(recipe))
    folder = run(recipe)
    assert list(folder.glob("internalized/**/evaluation.json"))
    assert (folder / "report.html").exists()


def test_check_says_what_a_run_will_do(tmp_path: Path) -> None:
    lines = "\n".join(map(str, check_recipe(tiny_recipe(tmp_path / "run", baselines=True))))
    assert "models: internalized, explicit, no_cot" in lines
    assert "prompt 6, thought 8, answer 6" in lines
    assert "steps: at most 24 of 16 examples; 31 per epoch" in lines
    assert "give more epochs" in lines
    assert not (tmp_path / "run").exists()


def test_check_finds_what_would_stop_a_run(tmp_path: Path) -> None:
    many = tiny_recipe(tmp_path / "run", data={"num_train": 10**6})
    with pytest.raises(SettingError, match=r"8,100|8100"):
        list(check_recipe(many))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "run" / "run"), pytest.raises(DataError, match=r"is writing to it"):
        run(tiny_recipe(tmp_path / "run"))


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="a file; needed: a folder"):
        run(tiny_recipe(tmp_path / "file"))


@pytest.mark.parametrize(("num_train", "is_known"), [(200, True), (150, False)])
def test_a_model_of_other_examples_learns_to_write_these_thoughts_first(
    tmp_path: Path, num_train: int, is_known: bool
) -> None:
    """Any model whose thought was whole was taken for one that already writes this thought."""
    adaptive = {"removal": "adaptive", "delta": None, "measure_every": 2, "answer_margin": None}
    phases = [
        {"name": "a", "schedule": {"removal": "none", "delta": None}},
        {
            "name": "b",
            "data": {"num_train": num_train},
            "schedule": {**adaptive, "margin": 99.0},
        },
    ]
    train = {"max_steps": 8, "settle_steps": 1}
    made = tiny_recipe(tmp_path / "run", data={"num_train": 200}, train=train, phases=phases)
    run_recipe(made, progress=False)
    lines = (tmp_path / "run" / "internalized" / "2-b" / "metrics.jsonl").read_text().splitlines()
    measured = [one["removed"] for one in map(json.loads, lines) if one["event"] == "recovery"]
    assert measured[0] == 0
    assert any(measured[1:]) == is_known


def test_a_phase_with_a_gap_goes_on_with_the_positions_of_the_one_before(tmp_path: Path) -> None:
    """It was given the table that had been moved to be asked without a gap, and moved it again."""
    kept = {"removal": "linear", "delta": 0.001, "start": 4, "positions": "gap", "smoothing": None}
    phases = [
        {"name": "a", "schedule": kept},
        {"name": "b", "schedule": kept, "train": {"max_steps": 1, "learning_rate": 1e-9}},
    ]
    train = {"max_steps": 3, "weight_decay": 0.0}
    folder = run(tiny_recipe(tmp_path / "run", train=train, phases=phases)) / "internalized"
    first, second = (load_file(folder / name / WEIGHTS) for name in ("1-a", "2-b"))
    table = next(name for name in first if name.endswith("wpe.weight"))
    assert torch.allclose(first[table], second[table], atol=1e-6)

    # a run of its own goes on in the same way
    own = tiny_recipe(tmp_path / "own", schedule=kept, train=phases[1]["train"])
    own = own.model_copy(update={"model": Model(name=str(folder / "1-a" / "model"))})
    alone = load_file(run(own) / "internalized" / WEIGHTS)
    assert torch.allclose(first[table], alone[table], atol=1e-6)


def test_a_project_with_a_recipe_of_its_own_is_no_run(tmp_path: Path) -> None:
    """Its recipe and its data would be replaced."""
    (tmp_path / "data").mkdir()
    mine = "name: mine  # by hand, in a café\n".encode("latin-1")
    (tmp_path / "recipe.yaml").write_bytes(mine)
    (tmp_path / "data" / "train.jsonl").write_text("{}\n")
    recipe = tiny_recipe(tmp_path, train={"max_steps": 2})
    with pytest.raises(OutputExistsError, match=r"no recipe.yaml that unspoken wrote"):
        run(recipe)
    with pytest.raises(OutputExistsError, match=r"no recipe.yaml that unspoken wrote"):
        require_run_folder(tmp_path)
    run_recipe(recipe, overwrite=True, progress=False)
    kept = tmp_path / "old" / "1"
    assert (kept / "recipe.yaml").read_bytes() == mine
    assert (kept / "data" / "train.jsonl").read_text() == "{}\n"
    require_run_folder(tmp_path)


@pytest.mark.parametrize("left", ["data/stage.json", "environment.json", "recipe.yaml"])
def test_a_run_is_known_by_what_unspoken_left(tmp_path: Path, left: str) -> None:
    """By a launch before the first stage, too, which leaves the recipe alone."""
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / left).write_text(dump_recipe(tiny_recipe(tmp_path)) if "yaml" in left else "{}")
    require_run_folder(tmp_path)


def test_the_recipe_of_a_folder_that_was_moved_says_where_it_lies(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run")
    moved = tmp_path / "moved" / "recipe.yaml"
    moved.parent.mkdir()
    moved.write_text(dump_recipe(recipe))
    assert load_to_run(moved) == recipe  # a recipe alone is no run
    (moved.parent / "environment.json").write_text("{}")
    for load in (load_to_run, run_api):
        with pytest.raises(RecipeError, match=r"its output is .*run; .* give output=.*moved to go"):
            load(moved)
    load_to_run(moved, [f"output={tmp_path / 'run'}"])
    moved.rename(tmp_path / "mine.yaml")
    load_to_run(tmp_path / "mine.yaml")


def test_a_missing_model_of_a_stage_is_no_wrong_path(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{}")
    with pytest.raises(ModelError, match=r"no such folder; needed: the model that training left"):
        load_tokenizer(Model(name=str(tmp_path / "model")))
