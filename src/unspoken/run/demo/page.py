"""The page itself, in Gradio: the extra `demo`. Nothing of it comes from another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from typing import Any

from unspoken.common.errors import SettingError, UnspokenError, as_key, shorten
from unspoken.report.show.numbers import counted
from unspoken.run.demo.cards import (
    STYLE,
    error_card,
    race_line,
    reply_card,
    say_replies,
    score_card,
)
from unspoken.run.demo.contest import Contest

ALOUD = "thinks aloud"
_FONT, _MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
#: One at a time: models are timed, and answer beside each other.
_TURN = "models"
#: A screen reader says what is put into these places.
_ANNOUNCE = """() => {
  for (const one of document.querySelectorAll("#said, #told")) one.setAttribute("role", "status");
}"""


class _Shown:
    """What the page shows after each of its events."""

    def __init__(self, contest: Contest) -> None:
        self._contest = contest

    def empty(self, place: float) -> tuple[str, str]:
        """Both columns before a question; the slider at `place` says which model is right."""
        return reply_card(ALOUD, None), reply_card(self._title(place), None)

    def answer(self, question: str, place: float) -> Iterator[tuple[str, str, str]]:
        """Both columns while the models write, and at the end what a screen reader says."""
        titles = (ALOUD, self._title(place))
        cards, replies = self.empty(place), []
        try:
            for replies in self._contest.ask(question, self._name(place)):
                one, other = map(reply_card, titles, replies)
                cards = one, other
                yield *cards, ""
            yield *cards, say_replies(titles, replies)
        except UnspokenError as error:
            yield *self._refused(error, place), escape(error.told(as_key))

    def race(self, place: float) -> Iterator[tuple[str, str, str]]:
        """Both columns after each question of a race, and the line below."""
        try:
            for question, scores in self._contest.race(self._name(place)):
                slowest = max(score.seconds for score in scores)
                one, other = (score_card(score, slowest) for score in scores)
                yield one, other, race_line(question, scores, self._contest.num_race)
        except UnspokenError as error:
            yield *self._refused(error, place), ""

    def _name(self, place: float) -> str:
        return self._contest.opponents[int(place)]

    def _title(self, place: float) -> str:
        return self._contest.label(self._name(place))

    def _refused(self, error: UnspokenError, place: float) -> tuple[str, str]:
        message = error.told(as_key)
        return error_card(ALOUD, message), error_card(self._title(place), message)


def make_page(contest: Contest) -> Any:
    """The page of a run, a `gradio.Blocks`; `launch` opens it.

    Raises:
        UnspokenError: Gradio is not installed.
    """
    gradio = _gradio()
    shown = _Shown(contest)
    last = len(contest.opponents) - 1
    examples = contest.examples()
    with gradio.Blocks(title=f"unspoken: {contest.name}", analytics_enabled=False) as page:
        gradio.Markdown(
            f"# unspoken: {contest.name}\nThe same question, answered with the thought written out "
            f"and without. {contest.remark}"
        )
        with gradio.Row():
            question = gradio.Textbox(
                label="Question", value=examples[0] if examples else "", scale=4, autofocus=True
            )
            ask = gradio.Button("Ask both", variant="primary", scale=1, elem_id="ask")
        level = gradio.Slider(
            0, max(1, last), value=last, step=1, visible=last > 0, elem_id="level",
            label="How much of its thought the model on the right has lost: all, at the right end",
        )  # fmt: skip
        with gradio.Row():
            left, right = (gradio.HTML(card) for card in shown.empty(last))
        with gradio.Row():
            start = gradio.Button(
                f"Race over {counted(contest.num_race, 'random questions')}",
                visible=contest.num_race > 0,
                elem_id="race",
            )
        told = gradio.HTML(elem_id="told")
        said = gradio.HTML(elem_id="said")
        if examples:
            whose = "of the test" if contest.split == "test" else "of the validation"
            gradio.Examples(examples, question, label=f"Questions {whose}")
        turn: dict[str, Any] = {"concurrency_id": _TURN, "concurrency_limit": 1}
        gradio.on(
            [ask.click, question.submit], shown.answer, [question, level], [left, right, said],
            show_progress="hidden", api_name="ask", trigger_mode="multiple", **turn,
        )  # fmt: skip
        start.click(
            shown.race,
            [level],
            [left, right, told],
            show_progress="hidden",
            api_name="race",
            **turn,
        )
        # not `release`, which keys do not cause
        level.change(
            shown.empty, [level], [left, right],
            show_progress="hidden", api_name=False, trigger_mode="always_last",
        )  # fmt: skip
        page.load(js=_ANNOUNCE)
    return page


def launch(page: Any, *, host: str, port: int | None, open_browser: bool) -> str:
    """Serves the page in a thread of its own and returns its address.

    Args:
        page: of `make_page`; its `block_thread` waits for Ctrl-C, its `close` ends it.
        host: address to listen at; 127.0.0.1 is seen from this machine only.
        port: None: a free one, from 7860 on.
        open_browser: also open it.

    Raises:
        SettingError: the port is taken, or there is no such host.
    """
    theme = _gradio().themes.Default(font=_FONT, font_mono=_MONO)
    # white on Gradio's own orange has 2.8 to 1, and 4.5 is asked for
    theme = theme.set(**{
        f"button_primary_background_fill{state}{ground}": f"*primary_{shade}"
        for state, shade in (("", 700), ("_hover", 800))
        for ground in ("", "_dark")
    })  # fmt: skip
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port, share=False, inbrowser=open_browser, quiet=True,
            prevent_thread_lock=True, footer_links=[], theme=theme, css=STYLE, ssr_mode=False,
        )  # fmt: skip
    except OSError as error:
        raise SettingError(
            "port",
            found=f"{host}:{port or 'any'}, where no page can be served ({shorten(error, 200)})",
            needed="a free port of this machine",
            remedy="give another one, or leave it out",
        ) from error
    return address


def _gradio() -> Any:
    """The module, told to send nothing anywhere."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UnspokenError(
            "demo: found no package gradio; needed: it, for the page; pip install 'unspoken[demo]'"
        ) from error
    return gradio
