"""The page of `unspoken demo`: what it says, and that its buttons do so in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.memory import make_asked_run
from unspoken.common.errors import ModelError
from unspoken.data.jsonl import write_jsonl
from unspoken.measure.ask import WrittenAnswer
from unspoken.recipe.records import DataRecord, TrainingRecord
from unspoken.run.demo.cards import error_card, race_line, reply_card, score_card
from unspoken.run.demo.contest import Contest, Score

WIDTHS = (1280, 390)  # of a desktop and of a phone


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_asked_run(tmp_path_factory.mktemp("demo") / "run")
    questions = [{"question": "3 2 1 * 5 4", "answer": "5 3 5 5 0"},
                 {"question": "1 1 1 * 2 2", "answer": "2 4 4 2 0"}]  # fmt: skip
    write_jsonl(folder.parent / "mine.jsonl", questions)  # read in place, as data.test is
    has_data(folder, test="../mine.jsonl")
    return folder


def has_data(folder: Path, **files: str) -> None:
    """Makes these files, relative to the run, what its stage data has left."""
    record = DataRecord(status="done", files={"train": "data/train.jsonl", **files})
    record.write(folder / "data" / "stage.json")


def test_both_models_answer_and_a_level_can_be_chosen(run: Path) -> None:
    contest = Contest(run)
    assert contest.opponents == ["level-7", "internalized"]
    assert contest.examples() == ["123*45", "111*22"]
    *_, (aloud, at_once) = contest.ask("123*45", "internalized")
    assert (aloud.answer, at_once.answer) == ("5535", "5535")
    assert aloud.num_tokens == 17 and at_once.num_tokens == 7
    *_, (_, level) = contest.ask("123*45", "level-7")
    assert level.thought == "940"
    assert contest.label("level-7") == "without the first 7 tokens of its thought"


def test_a_model_with_some_thought_left_is_not_said_to_answer_at_once(tmp_path: Path) -> None:
    contest = Contest(make_asked_run(tmp_path / "run"))
    assert contest.label("internalized") == "answers at once"
    record = TrainingRecord(status="done", level="0004", tokens_removed=4, longest_thought=10)
    record.write(contest.run / "internalized" / "stage.json")
    assert contest.label("internalized") == "partly internalized"


def test_what_a_level_has_lost_is_told_as_it_was_removed(tmp_path: Path) -> None:
    run = make_asked_run(tmp_path / "run")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "schedule: {side: right, unit: step}\n")
    assert Contest(run).label("level-7") == "without the last 7 steps of its thought"
    assert Contest(run).label("level-1") == "without the last step of its thought"
    own = "phases: [{name: a}, {name: b, schedule: {side: left}}]\n"
    recipe.write_text(recipe.read_text() + own)
    trained = (run / "internalized").rename(run / "own")
    (run / "internalized").mkdir()
    trained.rename(run / "internalized" / "2-b")
    assert Contest(run).label("level-7") == "without the first 7 steps of its thought"


def test_a_race_counts_what_is_right_and_what_it_took(run: Path) -> None:
    states = list(Contest(run).race("internalized", seed=0))
    assert sorted(question for question, _ in states) == ["111*22", "123*45"]
    for number, (_, scores) in enumerate(states, start=1):
        assert [score.num_asked for score in scores] == [number, number]
    aloud, at_once = states[-1][1]
    assert (aloud.num_right, at_once.num_right) == (2, 2)
    assert (aloud.num_tokens, at_once.num_tokens) == (34, 14)
    assert aloud.seconds > 0


def test_what_cannot_be_shown_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found no run folder"):
        Contest(run / "internalized" / "nowhere")
    alone = make_asked_run(tmp_path / "alone")
    has_data(alone)
    with pytest.raises(ModelError, match="measured with; ask questions of your own"):
        list(Contest(alone).race("internalized"))
    has_data(alone, test="data/given-test.jsonl")
    with pytest.raises(ModelError, match=r"; put .*data/given-test.jsonl back, or ask"):
        list(Contest(alone).race("internalized"))
    shutil.rmtree(alone / "internalized")
    with pytest.raises(ModelError, match="found no internalized model"):
        Contest(alone)


def test_questions_are_those_that_the_last_phase_was_measured_with(tmp_path: Path) -> None:
    run = make_asked_run(tmp_path / "run")
    with (run / "recipe.yaml").open("a") as recipe:
        recipe.write("phases: [{name: a}, {name: b}]\n")
    own = (run / "internalized").rename(run / "own")
    (run / "internalized").mkdir()
    own.rename(run / "internalized" / "2-b")
    for key, digits in (("1-a", "1 1 1 * 2 2"), ("2-b", "3 2 1 * 5 4")):
        path = run / "data" / key / "valid.jsonl"
        write_jsonl(path, [{"question": digits, "answer": "0"}])
        has_data(run, valid=f"data/{key}/valid.jsonl")
        (run / "data" / "stage.json").rename(path.parent / "stage.json")
    contest = Contest(run)
    assert (contest.split, contest.examples(), contest.num_race) == ("valid", ["123*45"], 1)


def test_what_a_model_writes_is_text_on_the_page() -> None:
    reply = WrittenAnswer("q", written="<script>alert(1)</script>", answer="<b>5</b>", num_tokens=3)
    cards = reply_card("<i>title</i>", reply) + error_card("t", "<img src=x>")
    assert "<script" not in cards and "<b>5" not in cards and "<img" not in cards


def test_a_score_and_the_line_of_a_race_can_be_read() -> None:
    scores = [Score("one", 10, 9, 170, 2.0), Score("two", 10, 10, 70, 1.0)]
    line = race_line("3*4*5 <b>", scores, 10)
    assert "<strong>3*4*5 &lt;b&gt;</strong>" in line and "2.0 times as fast" in line
    card = score_card(scores[1], 2.0)
    assert (
        "10 of 10 right" in card
        and "width: 50%" in card
        and "70&nbsp;tokens, 1,000.0&nbsp;ms" in card
    )


# ---- in a browser -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install '.[demo]'")
    from unspoken.run.demo.page import launch, make_page

    page = make_page(Contest(run))
    yield launch(page, host="127.0.0.1", port=None, open_browser=False)
    page.close()


@pytest.mark.integration
@pytest.mark.browser
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Gradio's own, in its threads
@pytest.mark.parametrize("width", WIDTHS)
def test_the_buttons_and_the_slider_work(address: str, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(120_000)  # two busy cores
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(address)
    question = page.get_by_label("Question", exact=True)
    question.fill("111*22")
    page.click("#ask")
    page.get_by_text("2442 right").nth(1).wait_for()
    assert page.get_by_text("17 tokens").count() == 1
    assert page.get_by_text("7 tokens", exact=False).count() == 2

    level = page.locator("#level input[type=range]")
    level.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("without the first 7 tokens of its thought").wait_for()
    question.fill("123*45")
    page.click("#ask")
    page.get_by_text("940#53550", exact=True).wait_for()
    page.get_by_text("5535 right").nth(1).wait_for()

    said = page.locator("#said")
    assert said.get_attribute("role") == "status"
    assert "thinks aloud: 5535, right. without the first 7 tokens" in said.inner_text()
    assert not page.locator("#level input[type=number]").is_visible()
    colour = "getComputedStyle(document.querySelector('#ask')).backgroundColor"
    # white has 5.2 to 1 on the button, and 7.3 below the pointer
    assert page.evaluate(colour) in ("rgb(194, 65, 12)", "rgb(154, 52, 18)")

    question.fill(100 * "9")
    question.press("Enter")
    page.get_by_text("needed: a product of two whole numbers").nth(1).wait_for()
    cards = "[...document.querySelectorAll('.unspoken-card')]"
    assert page.evaluate(f"{cards}.every(card => card.scrollWidth <= card.clientWidth)")

    page.click("#race")
    page.get_by_text("2 of 2 right").first.wait_for()
    page.get_by_text("All 2:").wait_for()

    page.get_by_role("button", name="123*45").click()
    page.wait_for_function("document.querySelector('textarea, input').value === '123*45'")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page does not fit its width"
    assert not [
        url for url in fetched if not url.startswith((address.rstrip("/"), "data:", "blob:"))
    ]
    page.close()
