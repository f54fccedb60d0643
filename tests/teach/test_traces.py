from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.engines import QUESTIONS, FakeEngine
from unspoken.cli.main import main
from unspoken.cli.traces import summary_lines
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.common.locks import locked
from unspoken.data.questions import read_questions_from
from unspoken.measure.sampling import Sampling
from unspoken.recipe.records import UnansweredRecord
from unspoken.teach.engines import EngineError, Reply, Usage
from unspoken.teach.engines.worked import WorkedEngine
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.replaced import set_aside
from unspoken.teach.traces.settings import settings_path, unanswered_path
from unspoken.teach.traces.together import shares_folder, write_together
from unspoken.teach.traces.write import GenerateSummary, generate_traces, shard_path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_have_the_seeds_fields_and_stand_in_order(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    questions = [{**record, "category": "sums"} for record in QUESTIONS]
    summary = generate_traces(FakeEngine(), questions, output)
    records = read(output)
    assert [record["id"] for record in records] == [f"{n}#0" for n in range(20)]
    assert [record["question"] for record in records] == [q["question"] for q in QUESTIONS]
    assert [record["answer"] for record in records] == [q["answer"] for q in QUESTIONS]
    assert records[0]["cot"].endswith("Final Answer: 1")
    assert {"num_tokens", "num_prompt_tokens", "stopped", "engine", "model"} <= records[0].keys()
    assert records[0]["category"] == "sums"
    assert (summary.num_wanted, summary.num_written, summary.num_tokens) == (20, 20, 100)
    assert summary.cost == 1.0
    again = generate_traces(FakeEngine(), questions, output)
    assert (again.num_done_before, again.num_written, again.num_tokens) == (20, 0, 100)


def test_a_gold_answer_outside_the_choices_is_said_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    questions = [
        {"question": "Why?", "answer": "billing"},
        {"question": "How?", "answer": "biling"},
    ]
    engine = FakeEngine()
    with pytest.raises(DataError, match=r"questions:2: answer: found 'biling'; needed: one of"):
        generate_traces(engine, questions, tmp_path / "traces.jsonl", choices=("billing", "login"))
    assert not engine.chunks and not (tmp_path / "traces.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("q.jsonl", '{"question": "1?", "answer": "a"}\n{"question": "2?", "answer": "c"}\n', 2),
        ("q.csv", '\ufeffquestion,answer\n"1,\n2,\n3?",a\n\n"4\n5?",c\n', 6),
        ("q.tsv", "question\tanswer\n1?\ta\n2?\tc\n", 3),
    ],
)
def test_an_error_over_a_question_names_its_line(
    name: str, text: str, place: int, tmp_path: Path
) -> None:
    """That on which it begins."""
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    for questions in (file, read_questions_from(file)):
        with pytest.raises(DataError, match=rf"{name}:{place}: answer: found 'c'; needed: one of"):
            generate_traces(FakeEngine(), questions, tmp_path / "t.jsonl", choices=("a", "b"))
    with pytest.raises(DataError, match=rf"{name}:\d: found .* without a solution"):
        generate_traces(WorkedEngine(), file, tmp_path / "worked.jsonl")


def test_an_interrupted_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, whole)
    for after in (1, 4, 7, 19):
        output = tmp_path / f"broken-{after}.jsonl"
        with pytest.raises(KeyboardInterrupt):
            generate_traces(FakeEngine(break_after=after), QUESTIONS, output)
        assert len(read(output)) == after
        engine = FakeEngine()
        summary = generate_traces(engine, QUESTIONS, output)
        assert (summary.num_done_before, summary.num_written) == (after, 20 - after)
        assert engine.used == Usage(10 * after, 5 * after)
        assert len(engine.chunks) == 5 - after // 4
        assert output.read_bytes() == whole.read_bytes()


def test_a_torn_last_line_is_removed_reported_and_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    whole = output.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for lost in (1, 2, 30, last):
        output.write_bytes(whole[:-lost])
        summary = generate_traces(FakeEngine(), QUESTIONS, output)
        assert output.read_bytes() == whole
        assert summary.num_written == int(lost > 1)  # a whole line only lacks its end
        assert (summary.num_torn_bytes > 0) == (1 < lost < last)
    assert "torn" in caplog.text
    output.write_bytes(whole[:-5] + b"\x00" * 500)
    assert generate_traces(FakeEngine(), QUESTIONS, output).num_torn_bytes > 500
    output.write_bytes(b'{"id": 3\n' + whole)
    with pytest.raises(DataError, match=r"traces.jsonl:1: found a line that unspoken generate did"):
        generate_traces(FakeEngine(), QUESTIONS, output)


def test_a_trace_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    whole = output.read_bytes()
    first, *rest = whole.splitlines(keepends=True)
    output.write_bytes(b"".join([first, first, *rest]))
    assert generate_traces(FakeEngine(), QUESTIONS, output).num_written == 0
    assert output.read_bytes() == whole


def test_what_a_kill_left_of_a_sort_is_removed(tmp_path: Path) -> None:
    output = tmp_path / "traces[1].jsonl"
    left, other = tmp_path / ".traces[1].jsonl.7.tmp", tmp_path / ".traces1.jsonl.7.tmp"
    for path in (left, other):
        path.write_text("half")
    generate_traces(FakeEngine(), QUESTIONS, output)
    assert (left.exists(), other.exists()) == (False, True)


def test_other_settings_are_refused_and_say_what_differs(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate_traces(FakeEngine(break_after=3), QUESTIONS, output)
    before = output.read_bytes()
    with pytest.raises(OutputExistsError, match=r"temperature: 0.0 then, 0.5 now"):
        generate_traces(FakeEngine(), QUESTIONS, output, sampling=Sampling(temperature=0.5))
    with pytest.raises(OutputExistsError, match=r"system_prompt: .* then, 'Think.' now"):
        generate_traces(FakeEngine(), QUESTIONS, output, system_prompt="Think.")
    with pytest.raises(OutputExistsError, match=r"teacher: None then, 'abc' now"):
        generate_traces(FakeEngine(teacher="abc"), QUESTIONS, output)
    assert output.read_bytes() == before
    generate_traces(FakeEngine(teacher="abc"), QUESTIONS, output, overwrite=True)
    assert len(read(output)) == 20
    settings_path(output).unlink()
    with pytest.raises(OutputExistsError, match="cannot be continued"):
        generate_traces(FakeEngine(), QUESTIONS, output)


def test_tokens_are_unknown_where_one_record_does_not_tell(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    records = read(output)
    records[3]["num_tokens"] = None
    output.write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = generate_traces(FakeEngine(), QUESTIONS, output)
    assert (summary.num_prompt_tokens, summary.num_tokens) == (200, None)
    assert summary.tokens_per_s is None
    assert "tokens: not known, because the server" in "\n".join(summary_lines(summary))
    assert summary.cost == 0.95


def test_what_the_same_call_left_half_done_is_continued_also_when_overwriting(
    tmp_path: Path,
) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    lost = UnansweredRecord(num_prompt_tokens=1, num_tokens=100)
    for after, done in ((7, 0), (3, 7), (None, 10), (None, 0)):  # whole at first, and at last
        if done == 7:
            lost.write(unanswered_path(output))
        engine = FakeEngine(break_after=after)
        if after is not None:
            with pytest.raises(KeyboardInterrupt):
                generate_traces(engine, QUESTIONS, output, overwrite=True)
        else:
            summary = generate_traces(engine, QUESTIONS, output, overwrite=True)
            assert (summary.num_done_before, summary.num_written) == (done, 20 - done)
        assert engine.used == Usage(10 * done + (done > 0), 5 * done + 100 * (done > 0))
    share = generate_traces(FakeEngine(), QUESTIONS, output, overwrite=True, keep_whole=True)
    assert (share.num_done_before, share.num_written) == (20, 0)


def test_shares_of_several_processes_go_on_also_when_overwriting(tmp_path: Path) -> None:
    from accelerate import PartialState

    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    begun = shard_path(shares_folder(output) / output.name, (1, 2))
    begun.parent.mkdir()
    generate_traces(FakeEngine(), QUESTIONS, begun, shard=(1, 2))

    def write(path: Path, share: tuple[int, int]) -> GenerateSummary:
        keeps = path != output
        return generate_traces(
            FakeEngine(), QUESTIONS, path, shard=share, overwrite=True, keep_whole=keeps
        )

    summary = write_together(write, output, PartialState(cpu=True), overwrite=True)
    assert (summary.num_done_before, summary.num_written) == (10, 10)
    assert len(read(output)) == 20 and not begun.parent.exists()


def test_shares_of_traces_that_replace_others_outlive_a_call_that_does_not_replace(
    tmp_path: Path,
) -> None:
    from accelerate import PartialState

    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    begun = shard_path(shares_folder(output) / output.name, (1, 2))
    generate_traces(FakeEngine(teacher="new"), QUESTIONS, begun, shard=(1, 2))

    def write(path: Path, share: tuple[int, int]) -> GenerateSummary:
        return generate_traces(FakeEngine(teacher="new"), QUESTIONS, path, shard=share)

    with pytest.raises(OutputExistsError, match="was begun with other settings"):
        write_together(write, output, PartialState(cpu=True))
    summary = write_together(write, output, PartialState(cpu=True), overwrite=True)
    assert (summary.num_done_before, summary.num_written) == (10, 10)
    assert not begun.parent.exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"sampling": Sampling(max_new_tokens=9)},
        {"num_samples": 19},
        {
            "questions": [
                {**record, "answer": "", "id": f"q{n}"} for n, record in enumerate(QUESTIONS)
            ]
        },
        {"questions": QUESTIONS[::-1]},
    ],
)
def test_overwriting_begins_anew_with_other_settings_or_questions(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate_traces(FakeEngine(break_after=7), QUESTIONS, output)
    given = {"questions": QUESTIONS, **changed}
    for keep_whole in (False, True):
        summary = generate_traces(
            FakeEngine(), output=output, overwrite=True, keep_whole=keep_whole, **given
        )
        expected = summary.num_wanted if keep_whole else 0
        assert summary.num_done_before == expected


def test_other_questions_are_refused_and_more_are_welcome(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS[:6], output)
    summary = generate_traces(FakeEngine(), QUESTIONS, output)
    assert (summary.num_done_before, summary.num_written) == (6, 14)
    with pytest.raises(DataError, match="changed or moved"):
        generate_traces(FakeEngine(), QUESTIONS[::-1], output)
    with pytest.raises(DataError, match="not there"):
        generate_traces(FakeEngine(), QUESTIONS[:5], output)
    twice = [{"id": "a", "question": "x"}, {"id": "a", "question": "y"}]
    with pytest.raises(DataError, match=r"questions:2: id: found 'a'"):
        generate_traces(FakeEngine(), twice, tmp_path / "other.jsonl")


def test_a_call_that_is_refused_leaves_what_was_begun_its_plan(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate_traces(FakeEngine(break_after=7), QUESTIONS, output)
    before = settings_path(output).read_bytes()
    with pytest.raises(DataError, match="that is not there"):
        generate_traces(FakeEngine(), QUESTIONS[:3], output)
    assert settings_path(output).read_bytes() == before
    with pytest.raises(DataError, match="13 samples are missing"):
        merge_traces([output], tmp_path / "merged.jsonl")
    summary = generate_traces(FakeEngine(), QUESTIONS, output, overwrite=True)
    assert (summary.num_done_before, summary.num_written) == (7, 13)


def test_start_index_and_num_samples_work_on_one_file(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    first = generate_traces(FakeEngine(), QUESTIONS, output, start_index=15)
    generate_traces(FakeEngine(), QUESTIONS, output, num_samples=4)
    again = generate_traces(FakeEngine(), QUESTIONS, output, start_index=15)
    assert (first.num_left_out, again.num_left_out) == (0, 11)
    assert "before --start_index without a trace in it: 11" in summary_lines(again)[-1]
    assert [record["index"] for record in read(output)] == [*range(4), *range(15, 20)]
    ids = [{"id": f"q{n}", **record} for n, record in enumerate(QUESTIONS)]
    output = tmp_path / "samples.jsonl"
    warm = Sampling(temperature=1.0)
    generate_traces(FakeEngine(), ids, output, num_samples=2, samples_per_question=3, sampling=warm)
    records = read(output)
    assert [record["id"] for record in records] == [f"q{n}#{s}" for n in (0, 1) for s in range(3)]
    assert len({record["cot"] for record in records}) == 6  # a seed for each sample


def test_settings_without_sense_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    bad: list[dict[str, Any]] = [
        {"samples_per_question": 2},
        {"shard": (0, 4)},
        {"shard": (5, 4)},
        {"num_samples": 0},
        {"start_index": -1},
    ]
    for options in bad:
        with pytest.raises(SettingError, match="needed: ") as caught:
            generate_traces(FakeEngine(), QUESTIONS, output, **options)
        assert caught.value.setting == next(iter(options))
    assert not output.exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"settings": {}}',
        b'{"settings": [], "plan": {"start_index": 0, "num_questions": 20}}',
        b'{"settings": {}, "plan": []}',
        b'{"settings": {}, "plan": {"start_index": "a", "num_questions": 20}}',
        b'{"settings": {}, "plan": {"start_index": 0, "num_questions": 1e400}}',
        b'{"settings": {}, "plan": {"start_index": 0, "num_questions": 20, "shard": [1]}}',
        b'{"settings": ' + b"[" * 50_000,
    ],
)
def test_damaged_settings_are_named(tmp_path: Path, damage: bytes) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    settings_path(output).write_bytes(damage)
    with pytest.raises(DataError, match=r"traces\.jsonl\.settings\.json: cannot be read") as caught:
        generate_traces(FakeEngine(), QUESTIONS, output)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"traces\.jsonl\.settings\.json: cannot be read"):
        merge_traces([output], tmp_path / "merged.jsonl")


@pytest.mark.parametrize(
    "changed",
    [
        {"num_tokens": "5"},
        {"num_tokens": [5]},
        {"num_prompt_tokens": 1.5},
        {"index": 1e400},
        {"index": None},
        {"question": ["a"]},
        {"question": None},
    ],
)
def test_a_damaged_trace_is_named_with_its_line(tmp_path: Path, changed: dict[str, Any]) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    first, second, *rest = output.read_text().splitlines(keepends=True)
    for line in (json.dumps({**json.loads(second), **changed}), '{"id": ' + "[" * 50_000 + "]}"):
        output.write_text("".join([first, f"{line}\n", *rest]))
        with pytest.raises(DataError, match=r"traces\.jsonl:2: ") as caught:
            generate_traces(FakeEngine(), QUESTIONS, output)
        assert "\n" not in str(caught.value)


def test_worked_solutions_need_no_model(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    questions = [
        {"question": "2 1 * 3"},
        {"question": "a", "thought": "b", "answer": "c"},
        {"question": "d", "cot": "e\nFinal Answer: f", "answer": "f"},
        {"question": "g", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    ]
    summary = generate_traces(WorkedEngine(), questions, output)
    records = read(output)
    assert [record["cot"] for record in records] == [
        "6 3 0\nFinal Answer: 6 3 0",
        "b\nFinal Answer: c",
        "e\nFinal Answer: f",
        "2 + 2 = <<2+2=4>>4\n#### 4",
    ]
    assert records[3]["answer"] == "4"
    assert "thought" not in records[1]
    assert summary.num_tokens == 0
    with pytest.raises(DataError, match="questions:1: found 'why'"):
        generate_traces(WorkedEngine(), [{"question": "why"}], tmp_path / "none.jsonl")


def test_the_seeds_questions_have_right_worked_solutions(tmp_path: Path) -> None:
    main(["data", "arithmetic", "--output", str(tmp_path)])
    questions, output = tmp_path / "raw_questions.jsonl", tmp_path / "cot_dataset.jsonl"
    main(["generate", "--engine", "worked", "--input", str(questions), "--output", str(output)])
    asked, records = read(questions), read(output)
    assert len(records) == len(asked) == 377
    for record, question in zip(records, asked, strict=True):
        assert (record["question"], record["answer"]) == (question["question"], question["answer"])
        assert record["category"] == question["category"]
        assert record["cot"].startswith("Step 1: ")
        assert record["cot"].splitlines()[-1] == f"Final Answer: {question['answer']}"


@pytest.mark.integration
def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    code = (
        "import sys, time; from pathlib import Path; from unspoken.common.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DataError, match=rf"process {other.pid} on .* is writing to it"):
            generate_traces(FakeEngine(), QUESTIONS, output)
        other.kill()
    generate_traces(FakeEngine(), QUESTIONS, output)  # a killed process leaves no lock
    with locked(output), pytest.raises(DataError), locked(output):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "traces.jsonl",
        "traces.jsonl.settings.json",
    ]


class Breaking(FakeEngine):
    """Ends with an error after so many replies."""

    def __init__(self, after: int) -> None:
        super().__init__(teacher="other")
        self.after = after

    def generate(self, *args: Any, **options: Any) -> Any:
        replies = super().generate(*args, **options)
        yield from (next(replies) for _ in range(self.after))
        raise DataError("no server answers")


def test_overwriting_costs_no_traces_before_there_are_new_ones(tmp_path: Path) -> None:
    """They cost money; an unreachable server had cost them."""
    output, aside = tmp_path / "traces.jsonl", tmp_path / "traces.jsonl.replaced"
    generate_traces(FakeEngine(), QUESTIONS, output)
    before, settings = output.read_bytes(), settings_path(output).read_bytes()
    with pytest.raises(DataError, match="no server"):
        generate_traces(Breaking(0), QUESTIONS, output, overwrite=True)
    assert (output.read_bytes(), settings_path(output).read_bytes()) == (before, settings)
    assert not aside.exists()
    with pytest.raises(SettingError, match="start_index: found 20; needed: below 20"):
        generate_traces(FakeEngine(), QUESTIONS, output, start_index=20, overwrite=True)
    assert output.read_bytes() == before
    with pytest.raises(DataError, match="no server"):
        generate_traces(Breaking(3), QUESTIONS, output, overwrite=True)
    assert (aside / "1" / output.name).read_bytes() == before
    done = generate_traces(FakeEngine(teacher="other"), QUESTIONS, output, overwrite=True)
    assert (done.num_done_before, done.num_written) == (3, 17)
    assert not aside.exists()


def test_replaced_traces_may_be_a_link_and_beside_other_files(tmp_path: Path) -> None:
    output, large = tmp_path / "traces.jsonl", tmp_path / "large" / "all.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    before = output.read_bytes()
    large.parent.mkdir()
    output.rename(large)
    output.symlink_to(Path("large") / "all.jsonl")
    mine = tmp_path / "traces.jsonl.replaced" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(DataError, match="no server"):
        generate_traces(Breaking(0), QUESTIONS, output, overwrite=True)
    assert output.read_bytes() == before
    generate_traces(FakeEngine(), QUESTIONS, output, overwrite=True)
    assert not output.is_symlink() and large.read_bytes() == before
    assert [path.name for path in mine.parent.iterdir()] == ["notes.txt"]


def test_a_kill_before_the_first_new_trace_costs_none(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    before = output.read_bytes()
    set_aside(output)
    output.write_bytes(b'{"torn')
    assert generate_traces(FakeEngine(), QUESTIONS, output).num_written == 0
    assert output.read_bytes() == before


def test_earlier_traces_of_the_same_questions_are_not_asked_for_again(tmp_path: Path) -> None:
    """One question went, so that all behind it moved up, one's answer was corrected, one is new."""
    earlier, output = tmp_path / "earlier.jsonl", tmp_path / "traces.jsonl"
    before = [*QUESTIONS[:5], QUESTIONS[1]]
    generate_traces(FakeEngine(), before, earlier)
    kept = earlier.read_bytes()
    now = [QUESTIONS[0], {**QUESTIONS[2], "answer": "three"}, *QUESTIONS[3:6], QUESTIONS[3]]
    files = [tmp_path / "none.jsonl", earlier]
    summary = generate_traces(FakeEngine(), now, output, earlier=files)
    assert (summary.num_taken_over, summary.num_done_before, summary.num_written) == (4, 4, 2)
    records = read(output)
    assert [record["question"] for record in records] == [one["question"] for one in now]
    assert [record["answer"] for record in records] == [one["answer"] for one in now]
    assert [record["id"] for record in records] == [f"{n}#0" for n in range(6)]
    # the last ones are a new question, and one that stands twice now
    assert [record.get("taken_over", False) for record in records] == [True] * 4 + [False] * 2
    cot = {record["question"]: record["cot"] for record in read(earlier)}
    assert all(record["cot"] == cot[record["question"]] for record in records[:4])
    assert earlier.read_bytes() == kept
    again = generate_traces(FakeEngine(), now, output, earlier=[earlier])
    assert (again.num_taken_over, again.num_done_before, again.num_written) == (4, 6, 0)
    asked = generate_traces(FakeEngine(), records, tmp_path / "of-traces.jsonl")
    assert (asked.num_taken_over, asked.num_written) == (0, 6), "the questions are traces"


def test_a_reply_that_stands_in_two_earlier_files_answers_one_question(tmp_path: Path) -> None:
    """Else a question that stands twice had one draw twice."""
    earlier = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for path, moved in zip(earlier, ([], [QUESTIONS[5]]), strict=True):
        generate_traces(FakeEngine(), [*moved, QUESTIONS[0]], path, earlier=[earlier[0]])
    output = tmp_path / "traces.jsonl"
    twice = [QUESTIONS[0], QUESTIONS[0]]
    summary = generate_traces(FakeEngine(), twice, output, earlier=earlier)
    assert (summary.num_taken_over, summary.num_written) == (1, 1)


def test_earlier_traces_of_other_settings_or_refused_or_torn_give_nothing(tmp_path: Path) -> None:
    earlier, output = tmp_path / "earlier.jsonl", tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS[:4], earlier)
    same = generate_traces(FakeEngine(), QUESTIONS[:4], output, earlier=[earlier])
    assert same.num_taken_over == 4
    warm = Sampling(temperature=0.5)
    for number, options in enumerate([{"system_prompt": "Think."}, {"sampling": warm}]):
        place = tmp_path / f"other-{number}.jsonl"
        summary = generate_traces(FakeEngine(), QUESTIONS[:4], place, earlier=[earlier], **options)
        assert (summary.num_taken_over, summary.num_written) == (0, 4)
    records = read(earlier)
    records[1]["finish_reason"] = "refused: too long"
    text = "".join(json.dumps(record) + "\n" for record in records)
    earlier.write_text(text[:-10], encoding="utf-8")
    summary = generate_traces(FakeEngine(), QUESTIONS[:4], tmp_path / "t.jsonl", earlier=[earlier])
    assert (summary.num_taken_over, summary.num_written) == (2, 2)


def test_solutions_that_stand_in_the_questions_are_read_again(tmp_path: Path) -> None:
    questions = [{"question": "1+1", "thought": "a guess", "answer": "3"}]
    generate_traces(WorkedEngine(), questions, tmp_path / "earlier.jsonl")
    questions[0] |= {"thought": "one more than one", "answer": "2"}
    output = tmp_path / "traces.jsonl"
    generate_traces(WorkedEngine(), questions, output, earlier=[tmp_path / "earlier.jsonl"])
    assert read(output)[0]["cot"] == "one more than one\nFinal Answer: 2"


class Own(FakeEngine):
    """A user's engine, which yields what it was made with."""

    def __init__(self, *replies: Any) -> None:
        super().__init__()
        self.replies = replies

    def generate(self, *_: Any, **__: Any) -> Iterator[Any]:
        yield from self.replies


GIVEN = Reply("Final Answer: 1", 3, 5, True, "stop")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "found None; needed: the number of a request, from 0 to 1, and a Reply"),
        ("text", "found 'text'; needed: the number"),
        ((2, GIVEN), "found (2, Reply("),
        ((-1, GIVEN), "found (-1, Reply("),
        ((1, "text"), "found (1, 'text')"),
        ((1, replace(GIVEN, text=None)), "found (1, Reply(text=None"),  # pyright: ignore
        ((1, replace(GIVEN, text=b"1")), "found (1, Reply(text=b'1'"),  # pyright: ignore
        ((1, replace(GIVEN, num_tokens=2.5)), "found (1, Reply("),  # pyright: ignore
        ((0, GIVEN), "found a second reply to questions:1 (0#0); needed: one for each request"),
    ],
)
def test_what_is_no_reply_is_said_and_the_replies_before_it_are_kept(
    reply: Any, said: str, tmp_path: Path
) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(EngineError, match=re.escape(f"engine fake: {said}")):
        generate_traces(Own((np.int64(0), GIVEN), reply), QUESTIONS[:2], output)
    assert [record["id"] for record in read(output)] == ["0#0"]


def test_an_engine_that_leaves_questions_out_is_named(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(EngineError, match="engine fake: ended without a reply to 1 of 2 requests"):
        generate_traces(Own((1, GIVEN)), QUESTIONS[:2], output)
    summary = generate_traces(Own((0, GIVEN)), QUESTIONS[:2], output)
    assert (summary.num_done_before, summary.num_written) == (1, 1)
