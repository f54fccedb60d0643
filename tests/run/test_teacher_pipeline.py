from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from helpers.paths import RECIPES
from helpers.processes import alone, together
from helpers.recipes import read, tiny_qwen2, tiny_recipe
from unspoken.cli.main import main
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.measure.sampling import Sampling
from unspoken.models.adapter import is_adapter
from unspoken.recipe import dump_recipe, load_recipe, recipe_from
from unspoken.run.run import run_recipe
from unspoken.run.shards import prepare, write_shard
from unspoken.run.teacher import Asker
from unspoken.teach.engines import Reply, Request, Style, Usage
from unspoken.teach.engines.make import EngineOptions
from unspoken.teach.engines.worked import solution

pytestmark = pytest.mark.integration

DISTIL = {"max_steps": 8, "settle_steps": None}
_STUDENTS = ("distilled", "internalized")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(recipe: Any, **options: Any) -> list[str]:
    """What the run said."""
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append, **options)
    return said


class Pupil:
    """A teacher that has every third question wrong the first time it is asked."""

    name: str = "pupil"
    model: str = "pupil-1"
    style: Style = "none"
    interrupted_after: int | None = None

    def settings(self) -> dict[str, Any]:
        return {"engine": self.name}

    def cost(self, usage: Usage) -> float | None:
        return usage.num_tokens / 1000

    def write(self, request: Request) -> str:
        return solution(request)

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Reply]]:
        for number, request in enumerate(requests):
            if number in skip:
                continue
            text = self.write(request)
            if request.index % 3 == 0 and sampling.temperature == 0:
                text += "1"
            yield number, Reply(text, 5, 10, True, "stop")


@pytest.fixture
def pupil(monkeypatch: pytest.MonkeyPatch) -> Pupil:
    made = Pupil()
    monkeypatch.setattr("unspoken.run.teacher.make_engine", lambda *_: made)
    return made


def teacher_recipe(folder: Path, **sections: Any) -> Any:
    values: dict[str, Any] = {
        "teacher": {"engine": "worked"},
        "data": {"num_train": 120},
        "distil": DISTIL,
        "train": {"max_steps": 6},
    }
    for name, section in sections.items():
        both = isinstance(values.get(name), dict) and isinstance(section, dict)
        values[name] = {**values[name], **section} if both else section
    return tiny_recipe(folder, **values)


def test_from_questions_to_an_internalized_student(tmp_path: Path) -> None:
    baselines = {"no_cot": True, "untrained": True}
    said = run(teacher_recipe(tmp_path / "run", baselines=baselines))
    folder = tmp_path / "run"
    assert [line.split(":")[0] for line in said] == [
        "data",
        "generate",
        "vet",
        "distil",
        "evaluate (distilled)",
        "internalize",
        "evaluate (internalized)",
        "baselines (no_cot)",
        "evaluate (no_cot)",
        "evaluate (untrained)",
        "latency",
    ]
    assert read(folder / "vetted" / "stage.json")["num_kept"] == 120
    assert read(folder / "distilled" / "stage.json")["level"] == "0000"
    internalized = read(folder / "internalized" / "stage.json")
    assert internalized["started_from"] == "distilled"
    assert internalized["settings"]["model"]["name"].endswith("distilled/model")
    assert read(folder / "no_cot" / "stage.json")["state"]["step"] == 8 + 6
    for name in ("distilled", "internalized", "no_cot", "untrained"):
        assert read(folder / name / "evaluation.json")["num_graded"] == 30
    for stage in ("data", "traces", "vetted", "distilled", "internalized"):
        values = read(folder / stage / "stage.json")
        assert values["seconds"] > 0
        assert values["peak_memory_bytes"]["host"] > 10**7


def test_a_second_run_does_nothing_and_a_change_reruns_what_depends_on_it(tmp_path: Path) -> None:
    run(teacher_recipe(tmp_path / "run"))
    assert run(teacher_recipe(tmp_path / "run"))[-1].startswith("nothing to do")
    distil = {**DISTIL, "learning_rate": 2e-3}
    said = run(teacher_recipe(tmp_path / "run", distil=distil))
    assert said[:3] == ["data: done", "generate: done", "vet: done"]
    assert "distil: running again (train.learning_rate: 0.001 -> 0.002)" in said[3]
    assert "internalize: running again (model.sha256:" in said[5]
    said = run(teacher_recipe(tmp_path / "run", distil=distil), start="vet")
    assert said[1] == "generate: done"
    assert "vet: running again (as asked)" in said[2]
    said = run(teacher_recipe(tmp_path / "run", distil=distil, vet={"max_tokens": 50}))
    assert "vet: running again (vet.max_tokens: None -> 50)" in said[2]
    assert said[3] == "distil: done", "the same traces were kept"


def test_wrong_traces_are_dropped_and_asked_again(tmp_path: Path, pupil: Pupil) -> None:
    run(teacher_recipe(tmp_path / "once"))
    vetted = read(tmp_path / "once" / "vetted" / "stage.json")
    assert vetted["rejected"]["wrong_answer"] == 40
    assert vetted["num_kept"] == read(tmp_path / "once" / "distilled" / "stage.json")["num_train"]
    assert vetted["num_kept"] == 80
    generated = read(tmp_path / "once" / "traces" / "stage.json")
    assert (generated["num_tokens"], generated["cost"]) == (1200, 1.2)
    run(teacher_recipe(tmp_path / "twice", teacher={"engine": "worked", "retries": 2}))
    vetted = read(tmp_path / "twice" / "vetted" / "stage.json")
    assert (vetted["num_kept"], vetted["num_asked_again"], vetted["num_tokens"]) == (120, 40, 400)
    traces = tmp_path / "twice" / "traces"
    assert [path.name[:8] for path in traces.glob("retry-*.jsonl")] == ["retry-1-"]


def test_a_class_whose_solutions_were_dropped_is_recorded_and_warned_of(
    tmp_path: Path,
    pupil: Pupil,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, after the questions were asked again."""

    def write(request: Request) -> str:
        return f"{request.question} , 2\nFinal Answer: {request.record['answer']}"

    monkeypatch.setattr(pupil, "write", write)
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    for path, begin in ((train, 0), (test, 200)):
        rows = [
            {"question": f"{n} ?", "thought": f"{n} , 2", "answer": int(n % 3 == 0)}
            for n in range(begin, begin + 60)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"task": "jsonl", "train": str(train), "test": str(test), "choices": [0, 1]}
    data["num_valid"] = 0
    run(teacher_recipe(tmp_path / "once", data=data))
    kept = {"num_kept": 40, "num_dropped": 0, "num_questions": 40, "num_questions_kept": 40}
    lost = {"num_kept": 0, "num_dropped": 20, "num_questions": 20, "num_questions_kept": 0}
    assert read(tmp_path / "once" / "vetted" / "stage.json")["classes"] == {"0": kept, "1": lost}
    (warning,) = [text for text in caplog.messages if "few questions have a solution" in text]
    assert "or none: 1 (0 of 20);" in warning
    caplog.clear()
    run(teacher_recipe(tmp_path / "twice", data=data, teacher={"engine": "worked", "retries": 1}))
    again = {"num_kept": 20, "num_dropped": 20, "num_questions": 20, "num_questions_kept": 20}
    assert read(tmp_path / "twice" / "vetted" / "stage.json")["classes"] == {"0": kept, "1": again}
    assert not [text for text in caplog.messages if "few questions have a solution" in text]


class Questions:
    """Runs up to the vetted traces of questions that are numbers; what was asked, in order."""

    def __init__(self, folder: Path, pupil: Pupil, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.asked, self.stops_after = folder, [], 10**6
        monkeypatch.setattr(pupil, "style", "plain")
        monkeypatch.setattr(pupil, "write", self._write)

    def _write(self, request: Request) -> str:
        if len(self.asked) == self.stops_after:
            raise KeyboardInterrupt
        self.asked.append(request.question)
        return f"{request.question} , 2\nFinal Answer: {request.record['answer']}"

    def recipe(self, name: str, numbers: Iterable[int], **teacher: Any) -> Any:
        train, test = self.folder / "train.jsonl", self.folder / "test.jsonl"
        for path, all_of in ((train, numbers), (test, range(200, 210))):
            rows = [{"question": f"{n} ?", "answer": n + 1} for n in all_of]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return teacher_recipe(
            self.folder / name,
            data={"task": "jsonl", "train": str(train), "test": str(test), "num_valid": 0},
            teacher={"engine": "openai", "base_url": "http://localhost:1", "retries": 1, **teacher},
            internalize=False,
            template="qa",
        )

    def vet(
        self,
        name: str,
        numbers: Iterable[int],
        *,
        source: Path | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
        **teacher: Any,
    ) -> list[str]:
        """What the run said, before the teacher is measured."""
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            if text.startswith("evaluate"):
                raise KeyboardInterrupt

        self.asked.clear()
        recipe = self.recipe(name, numbers, **teacher).model_copy(update={"from_run": source})
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, progress=False, say=say, **options)
        return said


@pytest.fixture
def questions(tmp_path: Path, pupil: Pupil, monkeypatch: pytest.MonkeyPatch) -> Questions:
    return Questions(tmp_path, pupil, monkeypatch)


def test_a_teacher_is_not_asked_again_what_it_was_asked_before(
    tmp_path: Path, questions: Questions
) -> None:
    """Where questions come and go, also in another run; unless it is to be asked again."""
    run(questions.recipe("run", range(10, 40)))
    assert len(questions.asked) == 30 + 10 + 10, "all of them, every third again, and the test"
    questions.asked.clear()
    said = run(questions.recipe("run", range(11, 42)))
    assert questions.asked == ["40 ?", "41 ?", "41 ?"], "the new ones, and one of them was wrong"
    assert "generate: 29 of 31 traces are earlier ones of the same questions" in said
    assert read(tmp_path / "run" / "vetted" / "stage.json")["num_kept"] == 31
    record = read(tmp_path / "run" / "traces" / "stage.json")
    assert (record["num_traces"], record["num_taken_over"], record["cost"]) == (31, 29, 0.31)
    assert "tokens_per_s" not in record, "its seconds are those of two"
    learned = lines(tmp_path / "run" / "vetted" / "dataset.jsonl")
    assert {*learned[0]} == {"id", "question", "thought", "answer", "cot"}, "as if asked now"
    questions.vet("other", range(12, 42), source=tmp_path / "run")
    assert questions.asked == []
    forced = {"start": "generate"}
    questions.vet("other", range(12, 42), source=tmp_path / "run", options=forced)
    assert len(questions.asked) == 30 + 10, "as asked"


def test_what_replaces_traces_takes_over_what_was_asked_again_too(questions: Questions) -> None:
    """Until they are vetted, the traces that --overwrite replaces are there."""
    overwrite = {"overwrite": True}
    questions.vet("run", range(10, 40), options=overwrite)
    questions.vet("run", range(11, 40), options=overwrite)
    assert questions.asked == []
    assert not (questions.folder / "run" / "old").exists()


def test_traces_that_are_asked_for_again_are_so_to_the_end(questions: Questions) -> None:
    """Also by a run without --from that goes on after an interruption, and where more is asked."""
    questions.vet("run", range(10, 40))
    questions.stops_after = 20
    questions.vet("run", range(10, 40), options={"start": "generate"})
    questions.stops_after = 10**6
    assert "generate: goes on" in questions.vet("run", range(10, 40))
    assert len(questions.asked) == 10, "those that were not written yet"
    said = questions.vet("run", range(10, 41))
    assert "generate: 30 of 31 traces are earlier ones of the same questions" in said


def test_traces_of_another_server_are_not_taken_over(questions: Questions) -> None:
    """Its model may have the same name; a model's folder may have another model in it."""
    questions.vet("run", range(10, 40), base_url="http://localhost:2")
    questions.vet("run", range(10, 40))
    assert len(questions.asked) == 30
    questions.vet("run", range(11, 40), base_url="http://localhost:2")
    assert questions.asked == []


def test_shares_of_traces_take_over_earlier_ones(questions: Questions) -> None:
    """Those of a run, and those of shares that were begun for other questions."""
    questions.vet("run", range(10, 40))
    questions.asked.clear()
    recipe = questions.recipe("run", range(11, 42))
    prepare(recipe, progress=False)
    write_shard(recipe, (2, 2), progress=False)
    assert questions.asked == ["40 ?"]
    recipe = questions.recipe("run", range(11, 43))
    prepare(recipe, progress=False)
    for number in (1, 2):
        write_shard(recipe, (number, 2), progress=False)
    assert questions.asked == ["40 ?", "41 ?", "42 ?"]


def test_an_interrupted_teacher_goes_on(
    tmp_path: Path, pupil: Pupil, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pupil.generate

    def part(self: Any, requests: Any, *arguments: Any, **options: Any) -> Any:
        for number, answered in enumerate(whole(self, requests, *arguments, **options)):
            if number == 50:
                return
            yield answered

    monkeypatch.setattr(Pupil, "generate", part)
    monkeypatch.setattr(
        "unspoken.common.interrupt.StopRequest.__enter__",
        lambda self: setattr(self, "requested", True) or self,
    )
    said: list[str] = []
    recipe = teacher_recipe(tmp_path / "run")
    with pytest.raises(SystemExit) as stopped:
        run_recipe(recipe, progress=False, say=said.append, start="generate")
    assert stopped.value.code == EXIT_INTERRUPTED
    assert said[-1].startswith("note: the same command begins anew at generate; without that ")
    assert len(lines(tmp_path / "run" / "traces" / "traces.jsonl")) == 50
    monkeypatch.undo()
    monkeypatch.setattr("unspoken.run.teacher.make_engine", lambda *_: pupil)
    assert run(teacher_recipe(tmp_path / "run"))[1] == "generate: goes on"
    assert len(lines(tmp_path / "run" / "traces" / "traces.jsonl")) == 120


def test_a_teacher_from_scratch_is_asked_what_it_did_not_learn(tmp_path: Path) -> None:
    model = tiny_recipe(tmp_path).model.model_dump(mode="json")
    train = {"max_steps": 3, "batch_size": 16, "learning_rate": 1e-3}
    teacher = {"engine": "transformers", "model": model, "train": train, "num_train": 40}
    with pytest.raises(DataError, match=r"none of 80 traces was kept.*rejected.jsonl"):
        run(teacher_recipe(tmp_path / "run", teacher=teacher))
    folder = tmp_path / "run"
    assert read(folder / "teacher" / "stage.json")["num_train"] == 40
    learned = {record["question"] for record in lines(folder / "data" / "teacher.jsonl")}
    asked = {record["question"] for record in lines(folder / "traces" / "traces.jsonl")}
    assert (len(learned), len(asked), learned & asked) == (40, 80, set())
    assert not any("thought" in record for record in lines(folder / "data" / "questions.jsonl"))


def test_what_another_run_has_done_is_taken_over_and_told_of(tmp_path: Path) -> None:
    """With other settings of the student, the teacher and its traces stay as they are."""
    first = tmp_path / "first"
    run(teacher_recipe(first, distil=DISTIL))
    said = run(teacher_recipe(tmp_path / "second", distil={**DISTIL, "learning_rate": 3e-3}))
    note = f"note: traces will be made again in this folder; {first} has the same, which from_run="
    assert any(line.startswith(note) for line in said)
    third = teacher_recipe(tmp_path / "third", distil={**DISTIL, "learning_rate": 3e-3})
    said = run(third.model_copy(update={"from_run": first}))
    over = f"done, taken over from {first}"
    assert said[:3] == [f"data: {over}", f"generate: {over}", f"vet: {over}"]
    assert "distil: running" in said and not any("note:" in line for line in said)
    traces = [(tmp_path / n / "traces" / "traces.jsonl").read_bytes() for n in ("first", "third")]
    assert traces[0] == traces[1]
    said = run(third.model_copy(update={"from_run": first}))
    assert "distil: done" in said  # and its own is what counts from now on


def test_a_folder_that_is_no_run_gives_nothing(tmp_path: Path) -> None:
    recipe = teacher_recipe(tmp_path / "run", distil=DISTIL)
    with pytest.raises(RecipeError, match=r"from_run: found .*, which has no recipe\.yaml"):
        run(recipe.model_copy(update={"from_run": tmp_path}))


def test_the_teacher_is_measured_as_it_is_asked(tmp_path: Path, pupil: Pupil) -> None:
    pupil.style = "plain"
    data = tmp_path / "questions.jsonl"
    data.write_text(
        "".join(
            json.dumps({"question": f"{n} + 1", "answer": str(n + 1), "thought": "one more"}) + "\n"
            for n in range(60)
        )
    )
    recipe = teacher_recipe(
        tmp_path / "run",
        data={"task": "jsonl", "train": str(data), "num_valid": 6},
        teacher={"engine": "openai", "base_url": "http://localhost:1/v1"},
        template="qa",
    )
    values = recipe.model_dump(mode="json")
    for key in ("digits", "num_train", "num_test", "difficulty", "categories"):
        values["data"].pop(key)
    values["model"]["config"]["n_positions"] = 128
    run(recipe_from(values))
    evaluation = read(tmp_path / "run" / "teacher" / "evaluation.json")
    assert (evaluation["num_graded"], evaluation["num_correct"]) == (6, 4)
    assert evaluation["settings"]["split"] == "valid"
    assert evaluation["cost"] == 0.06
    assert (evaluation["num_tokens"], evaluation["mean_tokens"]) == (60, 10)
    assert evaluation["seconds"] > 0 and evaluation["examples_per_s"] > 0
    # cut off before evaluation.json was there, and asked by a server that counts no tokens
    answers = tmp_path / "run" / "teacher" / "answers.jsonl"
    untold = [{**record, "num_tokens": None} for record in lines(answers)]
    answers.write_text("".join(json.dumps(record) + "\n" for record in untold))
    (tmp_path / "run" / "teacher" / "evaluation.json").unlink()
    run(recipe_from(values))
    evaluation = read(tmp_path / "run" / "teacher" / "evaluation.json")
    assert (evaluation["num_graded"], evaluation["num_correct"]) == (6, 4)
    for name in ("seconds", "examples_per_s", "tokens_per_s", "num_tokens", "mean_tokens"):
        assert evaluation.get(name) is None, name


def test_the_teachers_model_is_asked_as_the_recipe_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[EngineOptions] = []
    monkeypatch.setattr("unspoken.run.teacher.make_engine", lambda _, given: made.append(given))
    model = {"name": "org/large", "revision": "v2", "tokenizer": "org/other",
             "attn_implementation": "eager"}  # fmt: skip
    recipe = teacher_recipe(tmp_path, teacher={"engine": "transformers", "model": model})
    assert Asker(recipe, recipe.teacher, None).engine is None
    assert made[0].teacher_dir == model.pop("name")
    assert {key: getattr(made[0], key) for key in model} == model


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"internalize": False, "distil": None}, "nothing would be trained"),
        ({"distil": {"learning_rat": 1}}, "did you mean 'distil.learning_rate'"),
        ({"teacher": {"engine": "transformers"}}, "teacher.model: missing"),
        ({"teacher": {"engine": "openai"}}, "teacher.base_url: missing"),
        ({"teacher": {"samples_per_question": 4}, "distil": {}}, "teacher.model: missing"),
        (
            {
                "teacher": {
                    "serve": "vllm serve {model} --port {port}",
                    "model": {"name": "large", "revision": "v2"},
                }
            },
            r"teacher.model.revision: found it with a teacher on a server.*in teacher.serve",
        ),
        ({"baselines": {"explicit": "before_removal"}}, "distil stage leaves anyway"),
        ({"phases": [{"name": "a"}]}, "phases: found them with teacher"),
    ],
)
def test_recipes_that_cannot_work_say_why(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        if "teacher" in sections:
            tiny_recipe(tmp_path, distil={}, **{k: v for k, v in sections.items() if k != "distil"})
        else:
            teacher_recipe(tmp_path, **sections)


@pytest.mark.parametrize(
    "teacher",
    [
        {"engine": "transformers"},
        {"engine": "openai"},
        {"engine": "worked", "num_train": 4},
        {"engine": "worked", "samples_per_question": 4},
        {"engine": "worked", "top_p": 0.5},
        {"model": {"config": {"model_type": "gpt2"}, "tokenizer": "characters"}},
        {"serve": "vllm serve {model} --port {port}", "base_url": "http://localhost:1/v1"},
        {"serve": "vllm serve {model} --port {port}", "engine": "worked"},
        {"serve": "vllm serve {model} --port {port}", "model": {"name": "m", "revision": "v2"}},
    ],
)
def test_errors_of_a_teacher_leave_to_their_reader_how_settings_are_spelled(
    tmp_path: Path, teacher: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(tmp_path, distil={}, teacher=teacher)
    told = caught.value.told(lambda name, _: f"<{name}>")
    assert "<teacher." in told
    assert not re.search(r"(?<!<)teacher\.", told), told


def test_a_thinking_students_block_shrinks_to_nothing(tmp_path: Path) -> None:
    """LoRA from the distilled adapter on, with the tokenizer's chat template."""
    data = tmp_path / "questions.jsonl"
    with data.open("w") as file:
        for n in range(40):
            cot = f"<think>\nStep 1: {n} + 1 = {n + 1}\n</think>\n\nFinal Answer: {n + 1}"
            file.write(
                json.dumps({"question": f"{n} + 1", "answer": str(n + 1), "cot": cot}) + "\n"
            )
    values = {
        "name": "think",
        "output": str(tmp_path / "run"),
        "template": "chat",
        "data": {"train": str(data), "num_valid": 4},
        "teacher": {"engine": "worked"},
        "model": {"name": str(tiny_qwen2(tmp_path / "student", chat=True))},
        "lora": {},
        "train": {"max_steps": 6, "batch_size": 8, "threads": 1},
        "distil": {"max_steps": 3},
        "schedule": {"delta": 60},
        "evaluate": {"max_new_tokens": 60, "num_latency": 0},
    }
    run(recipe_from(values))
    folder = tmp_path / "run"
    kept = lines(folder / "vetted" / "dataset.jsonl")[0]
    assert (kept["thought"], kept["answer"]) == ("Step 1: 0 + 1 = 1", "1")
    cards = {name: read(folder / name / "model" / "unspoken.json") for name in _STUDENTS}
    prompt = "<|im_start|>user\n0 + 1<|im_end|>\n<|im_start|>assistant\n"
    for name, removed in zip(_STUDENTS, (0, None), strict=True):
        assert (cards[name]["template"], cards[name]["removed"]) == ("chat", removed)
        assert cards[name]["example_prompt"] == prompt
        stage = read(folder / name / "stage.json")
        assert stage["longest_thought"] == len("<think>\nStep 1: 10 + 1 = 11\n</think>\n\n")
        assert is_adapter(str(folder / name / "model"))
    assert read(folder / "internalized" / "stage.json")["level"] == "all"


def test_internalizing_a_distilled_adapter_by_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without lora in the settings: the adapter itself is trained on, asked as it was trained."""
    data = tmp_path / "traces.jsonl"
    data.write_text(
        "".join(
            json.dumps({"question": f"{n} + 1", "cot": f"Step 1\nFinal Answer: {n + 1}"}) + "\n"
            for n in range(30)
        )
    )
    student, out = tiny_qwen2(tmp_path / "student"), tmp_path / "adapter"
    main(f"distil --student_dir {student} --data {data} --out_dir {out} --epochs 1".split())
    main(
        f"internalize --model_name {out} --data {data} --output {tmp_path / 'run'} --max_steps 4 "
        "--batch_size 8 --delta 90".split()
    )
    model = tmp_path / "run" / "internalized" / "model"
    assert is_adapter(str(model))
    assert read(model / "unspoken.json")["template"] == "qa"
    before = (out / "adapter_model.safetensors").read_bytes()
    assert (model / "adapter_model.safetensors").read_bytes() != before


@pytest.mark.parametrize("name", ["distill-qwen", "think-qwen3"])
def test_shipped_teacher_recipes_run_end_to_end_on_a_tiny_model(name: str, tmp_path: Path) -> None:
    """The student is a tiny random model; worked solutions stand in for the teacher."""
    student = tiny_qwen2(tmp_path / "student", chat=name == "think-qwen3")
    short = [
        f"model.name={student}",
        "teacher.engine=worked",
        "data.num_train=24",
        "data.difficulty=easy",  # short thoughts: a random model writes until the limit
        "data.categories=[arithmetic]",
        "data.num_valid=4",
        "data.num_test=6",
        "train.batch_size=8",
        "train.micro_batch_size=2",
        "train.max_steps=3",
        "distil.max_steps=2",
        "train.num_valid=2",
        "evaluate.limit=2",
        "evaluate.max_new_tokens=8",
        "evaluate.num_latency=0",
        f"output={tmp_path / 'run'}",
    ]
    recipe = load_recipe(RECIPES / f"{name}.yaml", short)
    run(recipe)
    folder = tmp_path / "run"
    assert is_adapter(str(folder / "internalized" / "model"))
    assert read(folder / "internalized" / "stage.json")["started_from"] == "distilled"
    assert (folder / "untrained" / "evaluation.json").exists()
    assert (folder / "report.html").exists()
    assert run(recipe)[-1].startswith("nothing to do")


def test_the_recipe_of_a_model_that_teaches_itself_runs_end_to_end(tmp_path: Path) -> None:
    """A random model solves nothing, so worked solutions stand in for its own."""
    short = [
        f"model.name={tiny_qwen2(tmp_path / 'model', chat=True)}",
        "teacher.engine=worked",
        "teacher.samples_per_question=1",
        "teacher.temperature=0",
        "data.num_train=24",
        "data.num_valid=4",
        "data.num_test=6",
        "distil.max_steps=2",
        "evaluate.limit=2",
        "evaluate.max_new_tokens=8",
        "evaluate.num_latency=0",
        f"output={tmp_path / 'run'}",
    ]
    run(load_recipe(RECIPES / "smollm2-self.yaml", short))
    assert (tmp_path / "run" / "distilled" / "evaluation.json").exists()
    assert (tmp_path / "run" / "untrained" / "evaluation.json").exists()
    assert not (tmp_path / "run" / "internalized").exists()


def test_several_processes_run_a_teachers_stages_together(tmp_path: Path) -> None:
    values = teacher_recipe(tmp_path / "run", baselines={"untrained": True}).model_dump(mode="json")
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    values["model"]["config"] |= off  # every process would draw its own dropout
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(recipe_from(values)))
    done = together("-m", "unspoken", "run", str(file))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("distil: running\n") == 1
    run(recipe_from({**values, "output": str(tmp_path / "alone")}))
    for name in ("traces/traces.jsonl", "vetted/dataset.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    losses = [
        [
            record["loss"]
            for record in lines(tmp_path / name / "distilled" / "metrics.jsonl")
            if record["event"] == "train"
        ]
        for name in ("run", "alone")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_several_processes_ask_a_teacher_together_also_again_and_for_the_test(
    tmp_path: Path,
) -> None:
    """A teacher that is right for the most part; not the main process alone."""
    data = {"digits": [[1, 1]], "num_train": 60, "num_valid": 5, "num_test": 12}
    config = {"n_head": 4, "n_embd": 64, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    learned = tiny_recipe(
        tmp_path / "teacher",
        data=data,
        model={"config": {"model_type": "gpt2", "n_layer": 1, "n_positions": 64, **config}},
        schedule={"removal": "none"},
        train={"max_steps": 120, "batch_size": 60, "learning_rate": 5e-3, "evaluate_every": 120},
        evaluate={"num_latency": 0},
    )
    run(learned)
    teacher = {
        "engine": "transformers",
        "model": {"name": str(tmp_path / "teacher" / "internalized" / "model")},
        "batch_size": 4,
        "retries": 2,
        "retry_temperature": 1.0,
    }
    folders = []
    for start in (alone, together):
        folder = tmp_path / start.__name__
        folder.mkdir()
        recipe = teacher_recipe(
            folder / "run", seed=1, data=data, teacher=teacher, internalize=False
        )
        (folder / "recipe.yaml").write_text(dump_recipe(recipe))
        done = start("-m", "unspoken", "run", str(folder / "recipe.yaml"))
        assert done.returncode == 0, done.stderr[-3000:]
        folders.append(folder / "run")
    one, two = folders
    stage = read(two / "vetted" / "stage.json")
    assert stage["num_asked_again"] > 0
    assert stage["num_kept"] > 30
    names = [path.name for path in sorted((one / "traces").glob("*"))]
    assert sum(name.startswith("retry-") for name in names) >= 2  # with its settings beside it
    assert [path.name for path in sorted((two / "traces").glob("*"))] == names
    texts = [f"traces/{name}" for name in names if name.endswith(".jsonl")]
    for text in [*texts, "vetted/dataset.jsonl", "teacher/predictions.jsonl"]:
        assert (one / text).read_bytes() == (two / text).read_bytes(), text
    names = sorted(path.name for path in (two / "teacher").iterdir())
    assert names == sorted(path.name for path in (one / "teacher").iterdir())


def test_a_teacher_that_is_not_there_is_named_as_the_recipe_has_it(tmp_path: Path) -> None:
    teacher = {"engine": "transformers", "model": {"name": str(tmp_path / "nowhere")}}
    with pytest.raises(ModelError, match=r"^teacher\.model\.name=.*nowhere"):
        run(teacher_recipe(tmp_path / "run", teacher=teacher))
