"""Planted faults are found and named, and what is right is kept."""

import json
import re
from collections import Counter

import pytest

from unspoken.cli.options import VettingFlags
from unspoken.cli.vet import summary_lines, vet
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.data.example import read_examples
from unspoken.teach.engines.worked import WorkedEngine
from unspoken.teach.traces.write import generate_traces
from unspoken.teach.vet import VetRules, vet_traces

MEADOW = "A meadow has a base of 33 meters and a height of 8 meters. What is its area?"


def trace(question, cot="Step 1: think\nFinal Answer: 36", **fields):
    """A line as unspoken generate writes it."""
    about = {"index": 0, "num_prompt_tokens": 9, "num_tokens": 12, "stopped": True}
    about |= {"finish_reason": "stop", "engine": "fake", "model": "fake-1"}
    return {"id": "0#0", "question": question, "cot": cot, "answer": "36", **about, **fields}


def write(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(folder, *inputs, **settings):
    """Vets records; returns (summary, kept, rejected as (reason, detail))."""
    paths = [write(folder / f"in-{n}.jsonl", records) for n, records in enumerate(inputs)]
    summary = vet_traces(paths, folder / "dataset.jsonl", **settings)
    rejected = read(folder / "rejected.jsonl")
    counts = Counter(record["reason"] for record in rejected)
    kept = read(folder / "dataset.jsonl")
    assert summary.rejected == dict(counts)
    assert summary.num_kept == len(kept)
    assert summary.num_traces == len(kept) + len(rejected)
    return summary, kept, [(record["reason"], record["detail"]) for record in rejected]


def reasons(rejected):
    return [reason for reason, _ in rejected]


def test_a_kept_record_is_an_example_with_the_fields_of_its_question(tmp_path):
    record = trace("15% of 240?", "0.15 * 240 = 36\n**Final Answer:** 36.0", category="percent")
    summary, kept, rejected = run(tmp_path, [record])
    assert list(kept[0].items()) == [
        ("id", "0#0"),
        ("question", "15% of 240?"),
        ("thought", "0.15 * 240 = 36"),
        ("answer", "36"),
        ("cot", "0.15 * 240 = 36\n**Final Answer:** 36.0"),
        ("category", "percent"),
    ]
    assert rejected == []
    example = read_examples(tmp_path / "dataset.jsonl")[0]
    assert (example.thought, example.answer) == ("0.15 * 240 = 36", "36")
    assert summary.num_unverified == 0


def test_question_and_cot_are_enough(tmp_path):
    summary, kept, _ = run(tmp_path, [{"question": "6 * 6?", "cot": "<think>six</think>36"}])
    assert kept[0] == {
        "question": "6 * 6?",
        "thought": "six",
        "answer": "36",
        "cot": "<think>six</think>36",
    }
    assert summary.num_unverified == 1


@pytest.mark.parametrize(
    ("cot", "gold"),
    [
        ("a\nFinal Answer: \\$1,234.50", "1234.5"),
        ("a\nFinal Answer: 6:4", "3:2"),
        ("a so \\boxed{\\frac{1}{2}}", "1/2"),
        ("1 2 #### 18", "She makes 18.\n#### 18"),
        ("<think>a</think>It is 36", "36"),
    ],
)
def test_right_answers_are_kept_however_they_are_written(tmp_path, cot, gold):
    _, kept, _ = run(tmp_path, [trace("q", cot, answer=gold)])
    assert len(kept) == 1
    assert kept[0]["answer"] == gold.rpartition("#### ")[2]


@pytest.mark.parametrize(
    "gold",
    [
        "We get \\boxed{3} first.\nThen 6 * 6 is \\boxed{36}.",
        "Long.\n" * 2000 + "So \\boxed{36}",
        "Six times six.\nFinal Answer: 36",
        "Six times six.\n#### 36",
    ],
)
def test_the_last_answer_of_a_gold_solution_is_gold_whatever_its_length(tmp_path, gold):
    records = [trace("q", answer=gold), trace("r", "a\nFinal Answer: 3", answer=gold)]
    _, kept, rejected = run(tmp_path, records)
    assert [record["answer"] for record in kept] == ["36"]
    assert rejected == [("wrong_answer", "found 3, gold is 36")]


def test_null_is_no_gold_answer(tmp_path):
    _, kept, rejected = run(tmp_path, [trace("q", "a\nFinal Answer: 3", answer=None)])
    assert ([record["answer"] for record in kept], rejected) == (["3"], [])


def test_an_answer_that_nobody_can_judge_is_not_kept(tmp_path):
    records = [trace("q", "a\nFinal Answer: 9^{9^{9^{9}}}")]
    _, kept, rejected = run(tmp_path, records)
    assert (kept, reasons(rejected)) == ([], ["undecided"])


def test_each_fault_has_its_reason(tmp_path):
    test = write(tmp_path / "test.jsonl", [{"question": "Leak?"}])
    records = [
        trace("cut", stopped=False, finish_reason="length"),
        trace("filtered", stopped=False, finish_reason="content_filter"),
        {"question": "cut by length", "cot": "a\nFinal Answer: 1", "finish_reason": "length"},
        trace("no marker", "it is\n36"),
        trace("marker without answer", "it is\nFinal Answer:"),
        trace("nothing", ""),
        trace("alone", "Final Answer: 36"),
        trace("leak? "),
        trace("long", num_tokens=41),
        trace("wrong", "a\nFinal Answer: 35"),
        trace("form", "no steps\nFinal Answer: 36"),
        trace("right", num_tokens=40),  # as many as may be
        trace("right", " Step 1:  think\n\nFinal Answer: 36"),
        trace("right", "Step 1: think\nStep 2: more\nFinal Answer: 36"),
    ]
    rules = VetRules(max_tokens=40, pattern=r"(?s)Step 1.*", max_per_question=1)
    summary, kept, rejected = run(tmp_path, records, rules=rules, test=[test])
    assert rejected == [
        ("truncated", "the teacher was stopped after 12 tokens (length)"),
        ("truncated", "the teacher was stopped after 12 tokens (content_filter)"),
        ("truncated", "the teacher was stopped (length)"),
        ("no_final_answer", r"ends with 'it is\n36'"),
        ("no_final_answer", r"ends with 'it is\nFinal Answer:'"),
        ("no_final_answer", "nothing was written"),
        ("no_thought", "says 36 and nothing before it"),
        ("leak", f"the question is {test}:1 (normalized)"),
        ("too_long", "41 tokens, at most 40 are wanted"),
        ("wrong_answer", "found 35, gold is 36"),
        ("off_pattern", "the thought does not match (?s)Step 1.*"),
        ("duplicate", "the same thought and answer were kept before"),
        ("surplus", "1 of this question were kept before"),
    ]
    assert [record["question"] for record in kept] == ["right"]
    assert (summary.num_questions, summary.num_questions_kept) == (12, 1)
    assert read(tmp_path / "rejected.jsonl")[0] == {
        **records[0],
        "reason": "truncated",
        "detail": rejected[0][1],
    }


def test_the_first_broken_rule_is_the_reason(tmp_path):
    test = write(tmp_path / "test.jsonl", [{"question": "q"}])
    worst = {"question": "q", "stopped": False, "num_tokens": 99}
    records = [
        trace(**worst, cot="35"),
        trace(**{**worst, "stopped": True}, cot="35"),
        trace(**{**worst, "stopped": True}, cot="a\nFinal Answer: 35"),
        trace(**{**worst, "stopped": True, "question": "r"}, cot="a\nFinal Answer: 35"),
        trace("r", cot="a\nFinal Answer: 35"),
    ]
    _, _, rejected = run(tmp_path, records, rules=VetRules(max_tokens=50, pattern="b"), test=[test])
    wanted = ["truncated", "no_final_answer", "leak", "too_long", "wrong_answer"]
    assert reasons(rejected) == wanted


@pytest.mark.parametrize(
    ("question", "how"),
    [
        (MEADOW, "exact"),
        (MEADOW.lower().replace("33", "33.0"), "normalized"),
        (f"Ann has 2 cows. {MEADOW} Explain.", "8-gram with 100% of its words"),
    ],
)
def test_a_planted_leak_is_found(tmp_path, question, how):
    test = write(tmp_path / "test.jsonl", [{"question": "Other?"}, {"question": MEADOW}])
    sibling = MEADOW.replace("33", "35")
    summary, kept, rejected = run(tmp_path, [trace(question), trace(sibling)], test=[test])
    assert rejected == [("leak", f"the question is {test}:2 ({how})")]
    assert [record["question"] for record in kept] == [sibling]
    assert summary.num_questions_leaking == 1


def test_the_overlap_can_be_set(tmp_path):
    test = write(tmp_path / "test.jsonl", [{"question": MEADOW}])
    changed = [trace(MEADOW.replace("its area", "the surface"))]
    assert run(tmp_path, changed, rules=VetRules(overlap=0.95), test=[test])[0].num_kept == 1
    assert run(tmp_path, changed, test=[test], overwrite=True)[0].rejected == {"leak": 1}


def test_a_torn_last_line_is_rejected_with_its_text(tmp_path):
    source = write(tmp_path / "in.jsonl", [trace("q")])
    torn = '{"question": "ä", "cot": "½'.encode()[:-1]
    source.write_bytes(source.read_bytes() + torn)
    summary = vet_traces([source], tmp_path / "out.jsonl")
    assert (summary.num_traces, summary.num_kept, summary.num_torn_bytes) == (2, 1, len(torn))
    assert read(tmp_path / "rejected.jsonl") == [
        {
            "raw": '{"question": "ä", "cot": "\\xc2',
            "reason": "torn_line",
            "detail": f"{source}:2 ends after {len(torn)} bytes",
        }
    ]
    assert source.read_bytes().endswith(torn)  # the input stays as it is


def test_a_whole_last_line_needs_no_line_end_and_only_a_torn_one_may_be_all(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(trace("q")))
    assert vet_traces([source], tmp_path / "out.jsonl").num_kept == 1
    source.write_text('{"ques')
    summary = vet_traces([source], tmp_path / "out.jsonl", overwrite=True)
    assert summary.rejected == {"torn_line": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "q"\n{"question": "q", "cot": "c"}\n', r"in\.jsonl:1: not JSON"),
        ('{"question": "q", "cot": "c"}\n[1]', r"in\.jsonl:2: not an object"),
        ('{"question": "q"}\n', r"in\.jsonl:1: cot: missing"),
        ('{"cot": "c"}\n', r"in\.jsonl:1: question: missing"),
        ('{"question": "q", "cot": 3}\n', r"in\.jsonl:1: cot: found the number 3"),
        ('{"question": "q", "cot": "c", "answer": [3]}\n', r"in\.jsonl:1: answer: found"),
        ("", r"in\.jsonl: found an empty file"),
    ],
)
def test_any_other_bad_line_is_an_error_and_leaves_no_file(tmp_path, text, message):
    (tmp_path / "in.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        vet_traces([tmp_path / "in.jsonl"], tmp_path / "new" / "out.jsonl")
    assert list(tmp_path.rglob("*.jsonl")) == [tmp_path / "in.jsonl"]
    assert list(tmp_path.rglob("*.tmp")) == []


def samples(question, *answers):
    records = [
        trace(question, f"Step {number}\nFinal Answer: {answer}", id=f"0#{number}")
        for number, answer in enumerate(answers)
    ]
    for record in records:
        del record["answer"]
    return records


def test_without_gold_the_majority_decides(tmp_path):
    records = [
        *samples("most", "36", "35", "$36.00", "34"),
        *samples("tie", "1", "2", "2", "1"),
        *samples("all different", "1", "2", "3"),
        *samples("single", "36"),
        trace("gold", "a\nFinal Answer: 36"),
    ]
    summary, kept, rejected = run(tmp_path, records, rules=VetRules(majority=True))
    assert [(record["question"], record["answer"]) for record in kept] == [
        ("most", "36"),
        ("most", "$36.00"),
        ("gold", "36"),
    ]
    assert Counter(rejected) == {
        ("minority", "found 35, most samples say 36"): 1,
        ("minority", "found 34, most samples say 36"): 1,
        ("no_majority", "as many samples say 2 as 1"): 7,
        ("no_majority", "36 is the answer of the only complete sample"): 1,
    }
    assert summary.num_unverified == 0
    summary, kept, _ = run(tmp_path, records, rules=VetRules(majority=False), overwrite=True)
    assert (len(kept), summary.num_unverified) == (13, 12)


def test_a_torn_last_line_has_no_vote(tmp_path):
    source = write(tmp_path / "in.jsonl", samples("q", "1", "1", "2"))
    source.write_bytes(source.read_bytes() + b'{"question": "q"')
    rules = VetRules(majority=True)
    summary = vet_traces([source], tmp_path / "dataset.jsonl", rules=rules)
    assert summary.num_kept == 2
    assert summary.rejected == {"minority": 1, "torn_line": 1}


def test_incomplete_samples_have_no_vote(tmp_path):
    records = samples("q", "1", "2", "2", "2")
    records[1]["stopped"] = records[2]["stopped"] = False
    records.append({"question": "q", "cot": "Step 9\nFinal Answer: 1"})
    _, kept, rejected = run(tmp_path, records, rules=VetRules(majority=True))
    assert [record["answer"] for record in kept] == ["1", "1"]
    assert reasons(rejected) == ["truncated", "truncated", "minority"]


def test_samples_of_retries_count_together(tmp_path):
    first = samples("q ", "1", "2")
    again = samples("q", "2", "3")
    again[0]["cot"] = first[1]["cot"]
    again[1]["cot"] = "Step 7\nFinal Answer: 2"
    summary, kept, rejected = run(
        tmp_path, first, again, rules=VetRules(majority=True, max_per_question=2)
    )
    assert [record["answer"] for record in kept] == ["2", "2"]
    assert reasons(rejected) == ["minority", "duplicate"]
    assert summary.num_questions == 1


def test_unknown_lengths_are_kept_and_counted(tmp_path):
    records = [{"question": "q", "cot": "a\nFinal Answer: 1"}, trace("r")]
    assert run(tmp_path, records, rules=VetRules(max_tokens=12))[0].num_unmeasured == 1
    assert run(tmp_path, records, overwrite=True)[0].num_unmeasured == 0


def test_failed_questions_can_be_asked_again(tmp_path):
    wrong = "a\nFinal Answer: 35"
    test = write(tmp_path / "test.jsonl", [{"question": "leak"}])
    first = [
        trace("mixed", wrong, id="0#0"),
        trace("mixed", id="0#1"),
        trace("failed", wrong, id="1#0", index=1, category="percent"),
        trace("failed", wrong, id="1#1", index=1, category="percent"),
        trace("leak", id="2#0"),
        trace("leak", stopped=False, id="2#1"),
        {"question": "no id", "cot": "nothing"},
    ]
    other = [trace("of another set", wrong, id="1#0")]  # ids of files without ids begin at 0
    failed = tmp_path / "failed.jsonl"
    summary, _, _ = run(tmp_path, first, other, test=[test], failed=failed)
    records = read(failed)
    asked = {"id": "1", "question": "failed", "answer": "36", "category": "percent"}
    assert records[0] == asked
    assert [record["question"] for record in records] == ["failed", "no id", "of another set"]
    assert re.fullmatch("[0-9a-f]{8}", records[1]["id"])
    assert re.fullmatch("1-[0-9a-f]{8}", records[2]["id"])
    assert (summary.num_questions, summary.num_questions_kept) == (5, 1)

    records[1]["answer"] = "36"
    write(failed, [{**record, "thought": "Step 1"} for record in records])
    generate_traces(WorkedEngine(), failed, tmp_path / "retries.jsonl")
    inputs = [tmp_path / "in-0.jsonl", tmp_path / "in-1.jsonl", tmp_path / "retries.jsonl"]
    summary = vet_traces(inputs, tmp_path / "dataset.jsonl", test=[test], overwrite=True)
    assert summary.num_questions_kept == 4


def test_worked_solutions_pass(tmp_path):
    question = {"question": "17 * 3", "thought": "10 * 3 + 7 * 3", "answer": "51"}
    questions = write(tmp_path / "questions.jsonl", [question])
    generate_traces(WorkedEngine(), questions, tmp_path / "traces.jsonl")
    summary = vet_traces([tmp_path / "traces.jsonl"], tmp_path / "dataset.jsonl")
    assert summary.num_kept == 1
    assert read(tmp_path / "dataset.jsonl")[0]["thought"] == "10 * 3 + 7 * 3"


def test_nothing_is_overwritten_or_read_twice(tmp_path):
    source = write(tmp_path / "in.jsonl", [trace("q")])
    before = source.read_bytes()
    (tmp_path / "rejected.jsonl").write_text("precious\n")
    taken = r"rejected\.jsonl: exists already; needed: a new name; name another as "
    with pytest.raises(OutputExistsError, match=taken + "rejected or"):
        vet_traces([source], tmp_path / "out.jsonl")
    with pytest.raises(OutputExistsError, match=taken + "failed or"):
        other = tmp_path / "other.jsonl"
        vet_traces(
            [source],
            other,
            rejected=other.with_suffix(".no"),
            failed=source.with_name("rejected.jsonl"),
        )
    assert not (tmp_path / "out.jsonl").exists()
    for inputs, output, extra in [
        ([source], source, {}),
        ([source, tmp_path / "." / "in.jsonl"], tmp_path / "out.jsonl", {}),
        ([source], tmp_path / "out.jsonl", {"rejected": tmp_path / "out.jsonl"}),
        ([source], tmp_path / "out.jsonl", {"failed": source}),
        ([source], tmp_path / "out.jsonl", {"test": [source]}),
    ]:
        with pytest.raises(DataError, match="found it twice"):
            vet_traces(inputs, output, overwrite=True, **extra)
    with pytest.raises(SettingError, match=r"^input: found no file"):
        vet_traces([], tmp_path / "out.jsonl")
    assert source.read_bytes() == before
    assert (tmp_path / "rejected.jsonl").read_text() == "precious\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pattern": "(Step"}, r"^pattern: found '\(Step', which is no regular expression"),
        ({"overlap": 0.0}, r"^overlap: found 0.0; needed: above 0"),
        ({"overlap": 1.1}, r"^overlap"),
        ({"max_tokens": 0}, r"^max_tokens: found 0; needed: at least 1"),
        ({"max_per_question": 0}, r"^max_per_question"),
    ],
)
def test_settings_without_sense_are_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        VetRules(**setting)


def test_the_verb_tells_counts_and_files(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", [trace("q"), trace("r", "a\nFinal Answer: 1")])
    source.write_text(source.read_text() + '{"que')
    output, failed = tmp_path / "dataset.jsonl", tmp_path / "failed.jsonl"
    vet(input=[source], output=output, failed=failed)
    assert capsys.readouterr().out.splitlines() == [
        f"{output}: 1 of 3 traces, for 1 of 2 questions",
        f"{tmp_path / 'rejected.jsonl'}: 2 rejected",
        "  wrong_answer: 1",
        "  torn_line: 1",
        f"{failed}: 1 questions to ask again",
        "torn last lines: 5 bytes",
    ]


def test_the_summary_is_plain_json(tmp_path):
    summary, _, _ = run(
        tmp_path, [trace("q"), {"question": "r", "cot": "a #### 1"}], rules=VetRules(max_tokens=20)
    )
    values = summary.to_json()
    assert json.loads(json.dumps(values)) == values
    assert values["output"] == str(tmp_path / "dataset.jsonl")
    assert values["failed_output"] is None
    assert values["num_unverified"] == values["num_unmeasured"] == 1
    assert sum("of those kept" in line for line in summary_lines(summary)) == 2


def test_with_choices_the_one_that_a_trace_names_is_kept(tmp_path):
    queues = ("billing", "login", "other")
    written = {
        "q1": "No money.\nFinal Answer: The category is **Login**.",
        "q2": "Hm.\nFinal Answer: login or billing",
        "q3": "Hm.\nFinal Answer: refund",
        "q4": "Hm.\nFinal Answer: other",
    }
    traces = [trace(question, cot, answer="login") for question, cot in written.items()]
    _, kept, rejected = run(tmp_path, traces, rules=VetRules(choices=queues))
    assert [(record["question"], record["answer"]) for record in kept] == [("q1", "login")]
    assert reasons(rejected) == ["no_choice", "no_choice", "wrong_answer"]


def test_with_choices_traces_without_gold_vote_with_the_choice_that_they_name(tmp_path):
    words = ["so login", "it is **login**", "billing", "no idea"]
    traces = [trace("q", f"Hm {n}.\nFinal Answer: {word}") for n, word in enumerate(words)]
    for record in traces:
        del record["answer"]
    rules = VetRules(choices="billing,login", majority=True)
    _, kept, rejected = run(tmp_path, traces, rules=rules)
    assert [record["answer"] for record in kept] == ["login", "login"]
    assert reasons(rejected) == ["minority", "no_choice"]


def say(label, number=0, **fields):
    """A trace that answers with a class."""
    return trace(f"q{number}", f"Hm {number}.\nFinal Answer: {label}", **fields)


def counts(num_kept, num_dropped, num_questions_kept, num_questions):
    return {
        "num_kept": num_kept,
        "num_dropped": num_dropped,
        "num_questions": num_questions,
        "num_questions_kept": num_questions_kept,
    }


def test_what_was_kept_and_dropped_is_counted_by_class(tmp_path, caplog):
    right = [say("login", n, answer="login") for n in range(3)]
    wrong = [say("login", n, answer="billing") for n in range(3, 6)]
    others = [
        say("billing", 6, answer="billing"),
        say("billing or login", 7, answer="Other"),
        {**say("other", 8, stopped=False), "answer": "other"},
        say("billing", 9, answer="billing"),
    ]
    rules = VetRules(choices="billing,login,other,a refund")
    summary, _, _ = run(tmp_path, [*right, *wrong, *others], rules=rules)
    assert summary.classes == {
        "billing": counts(2, 3, 2, 5),
        "login": counts(3, 0, 3, 3),
        "other": counts(0, 2, 0, 2),
        "a refund": counts(0, 0, 0, 0),
    }
    assert summary.to_json()["classes"] == summary.classes
    lines = summary_lines(summary)
    assert "  billing: 2 kept, 3 dropped, for 2 of 5 questions" in lines[lines.index("by class:") :]
    summary.warn()
    (warning,) = caplog.messages
    assert "or none: billing (2 of 5), other (0 of 2), a refund (0 of 0);" in warning
    assert f"the reasons are in {tmp_path / 'rejected.jsonl'}:" in warning


def test_tries_and_spare_solutions_are_dropped_and_no_class_is_lost_by_them(tmp_path, caplog):
    """Half of the questions, or more, have a solution."""
    same = [say("login", 1, answer="login") for _ in range(3)]
    more = [trace("q2", f"So {n}.\nFinal Answer: billing", answer="billing") for n in range(4)]
    half = [say("other", 3, answer="other"), say("login", 4, answer="other")]
    tries = [
        *[say("nothing", 5, answer="login") for _ in range(5)],
        say("login", 5, answer="login"),
    ]
    rules = VetRules(choices="billing,login,other", max_per_question=1)
    summary, _, _ = run(tmp_path, [*same, *more, *half], tries, rules=rules)
    assert summary.classes == {
        "billing": counts(1, 3, 1, 1),
        "login": counts(2, 7, 2, 2),
        "other": counts(1, 1, 1, 2),
    }
    summary.warn()
    assert not caplog.messages


def test_a_trace_without_a_gold_answer_counts_in_the_class_that_it_names(tmp_path):
    traces = [say("login"), say("billing", 1, stopped=False), say("neither", 2)]
    for record in traces:
        del record["answer"]
    summary, _, _ = run(tmp_path, traces, rules=VetRules(choices="billing,login"))
    assert summary.classes == {"billing": counts(0, 1, 0, 1), "login": counts(1, 0, 1, 1)}


def test_a_torn_line_counts_in_no_class(tmp_path):
    source = write(tmp_path / "traces.jsonl", [say("login", answer="login")])
    source.write_text(source.read_text() + '{"question": "')
    rules = VetRules(choices="billing,login")
    summary = vet_traces([source], tmp_path / "dataset.jsonl", rules=rules)
    assert summary.rejected == {"torn_line": 1}
    assert summary.classes == {"billing": counts(0, 0, 0, 0), "login": counts(1, 0, 1, 1)}


def test_without_choices_nothing_is_said_of_classes(tmp_path, caplog):
    summary, _, _ = run(tmp_path, [trace("q", answer="37")])
    summary.warn()
    assert summary.classes is None
    assert not caplog.messages
    assert not any("class" in line for line in summary_lines(summary))


def test_the_command_prints_the_classes_and_warns(tmp_path, capsys, caplog):
    source = write(tmp_path / "traces.jsonl", [say("login", answer="login")])
    vet(input=[source], output=tmp_path / "out.jsonl", rules=VettingFlags(choices="billing,login"))
    printed = capsys.readouterr().out
    assert "by class:\n  billing: 0 kept, 0 dropped, for 0 of 0 questions\n  login: 1" in printed
    assert ["billing (0 of 0)" in text for text in caplog.messages] == [True]


def test_a_gold_answer_that_is_no_choice_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"in-0\.jsonl:1: answer: found '36'; needed: one of the"):
        run(tmp_path, [trace("q")], rules=VetRules(choices="billing,login"))
