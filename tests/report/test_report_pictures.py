"""The curves of a report: read off by a pointer and by keys, light and dark, their labels."""

import itertools
import json
import math
import re
from xml.etree import ElementTree

import pytest

from helpers.run_folders import (
    LONGEST,
    drawn,
    write_lines,
)
from unspoken.report import write_report
from unspoken.report.show import plot_labels
from unspoken.report.show.palette import DARK, LIGHT, name_colour


def test_curves_can_be_read_off_by_a_pointer(full):
    write_report(full)
    source = (full / "report.html").read_text(encoding="utf-8")
    found = [json.loads(each) for each in re.findall(r"data-curves='([^']*)'", source)]
    (accuracy, removal), (tokens,), (loss,) = found
    curves = {one["name"]: one for one in accuracy["curves"]}
    assert curves["internalized"]["x"] == [20, 40, 60, 80, 100]
    assert curves["internalized"]["y"] == [20, 40, 60, 80, 100]
    assert (accuracy["title"], accuracy["over"]) == (
        "Right answers in validation, %", "optimizer steps",
    )  # fmt: skip
    assert removal["curves"][0]["y"][-1] == LONGEST
    assert {one["name"] for one in tokens["curves"]} > {"no CoT", "internalized"}
    assert loss["log"]
    for each in (accuracy, removal, tokens, loss):
        left, top, width, height = each["box"]
        assert 0 < left < left + width <= 1 and 0 < top < top + height <= 1


@pytest.mark.integration
@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_a_pointer_reads_off_curves_and_nothing_is_too_wide(full, browser, width):
    write_report(full)
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(120_000)  # two busy cores
    told, fetched, shown = [], [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("dialog", lambda dialog: shown.append(dialog.message))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto((full / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heads = page.locator(".models thead th[scope=col]").all()
    first = min(heads, key=lambda head: head.bounding_box()["x"]).inner_text()
    assert first == ("internalized" if width < 600 else "explicit CoT")
    # who hears the table has a title for every cell, on a phone as well
    rows = page.locator(".models").first.locator("tr")
    titles, accuracies = rows.nth(0), rows.filter(has_text="Right answers")
    assert titles.get_by_role("columnheader").count() == len(heads) + 1
    assert accuracies.get_by_role("cell").count() == len(heads)
    assert accuracies.get_by_role("rowheader", name="Right answers with 95 % interval").count()

    plot = page.locator("[data-curves]").first
    (axes, *_) = json.loads(plot.get_attribute("data-curves"))
    left, top, wide, tall = axes["box"]
    (low, high), (bottom, ceiling) = axes["x"], axes["y"]
    plot.scroll_into_view_if_needed()
    area = plot.locator("svg").bounding_box()
    page.mouse.move(
        area["x"] + area["width"] * (left + wide * (60 - low) / (high - low)),
        area["y"] + area["height"] * (top + tall * (1 - (60 - bottom) / (ceiling - bottom))),
    )
    said = plot.locator(".tip").inner_text()
    assert said.endswith("Right answers in validation, %: 60\noptimizer steps: 60")
    home, tip = plot.bounding_box(), plot.locator(".tip").bounding_box()
    assert home["x"] <= tip["x"] < tip["x"] + tip["width"] <= home["x"] + home["width"]
    page.mouse.move(1, 1)
    assert not plot.locator(".tip").is_visible()
    assert (told, fetched) == ([], [(full / "report.html").as_uri()])
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("document.body.innerHTML = '<img src=data:, onerror=alert(1)>'")
    assert shown == []
    page.close()


@pytest.mark.integration
@pytest.mark.browser
def test_keys_read_off_curves_and_a_screen_reader_hears_it(full, browser):
    write_report(full)
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_default_timeout(120_000)  # two busy cores
    page.goto((full / "report.html").as_uri())
    plot = page.locator("[data-curves]").first
    heard = plot.locator("[aria-live=polite]")
    axes, removal = json.loads(plot.get_attribute("data-curves"))
    names = [one["name"] for one in axes["curves"]]
    assert "Arrow keys" in plot.get_attribute("aria-label")

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)
        assert plot.locator(".tip").inner_text() == heard.text_content()
        tip, home = plot.locator(".tip").bounding_box(), plot.bounding_box()
        assert home["x"] <= tip["x"] < tip["x"] + tip["width"] <= home["x"] + home["width"]
        name, what, at = heard.text_content().split("\n")
        assert what.startswith((axes["title"], removal["title"]))
        return name, int(what.rpartition(" ")[2]), int(at.removeprefix("optimizer steps: "))

    for _ in range(30):  # by Tab alone, as people without a pointer get there
        page.keyboard.press("Tab")
        if plot.evaluate("one => one === document.activeElement"):
            break
    assert heard.text_content().startswith(names[0])  # said as soon as it is there
    assert plot.locator(".tip").is_visible()
    while press("ArrowDown")[0] != "internalized":
        pass
    assert press("Home") == ("internalized", 20, 20)
    assert press("ArrowRight", "ArrowRight") == ("internalized", 60, 60)
    assert press("ArrowLeft") == ("internalized", 40, 40)
    assert press("End", "ArrowRight") == ("internalized", 100, 100)
    assert press("Home", "ArrowLeft") == ("internalized", 20, 20)
    # another curve is entered where the last one was left
    shown = [press("End", "ArrowDown")[2] for _ in range(len(names) + 1)]
    assert set(shown) == {100}
    page.keyboard.press("Escape")
    assert not plot.locator(".tip").is_visible()
    assert press("ArrowLeft")[2] < 100
    page.keyboard.press("Tab")
    assert not plot.locator(".tip").is_visible()
    page.close()


def test_figures_take_the_colours_of_the_page(full):
    write_report(full)
    for words in ("Mean loss", "tokens written per question", "Thought tokens removed"):
        figure = drawn(full, words).lower()
        for name, colour in LIGHT.items():
            assert figure.count(colour.lower()) == figure.count(f"var(--{name}, {colour.lower()})")
        assert "var(--internalized, #0072b2)" in figure


def contrast(colour, ground):
    """Of two colours, as WCAG 2 defines it."""
    lights = []
    for each in (colour, ground):
        shares = [int(each[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in shares
        ]
        lights.append(sum(map(math.prod, zip((0.2126, 0.7152, 0.0722), linear, strict=True))))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_everything_written_in_a_picture_can_be_read(full, tmp_path):
    write_report(full, tmp_path / "pictures")
    for path in (tmp_path / "pictures").iterdir():
        palette = DARK if "dark" in path.name else LIGHT
        colours = set(re.findall(r'<text style="[^"]*fill: (#\w{6})', path.read_text()))
        assert len(colours) > 3, path.name
        for colour in colours:
            assert contrast(colour, palette["card"]) >= 4.5, (path.name, colour)
    models = ("teacher", "distilled", "explicit", "internalized", "at_once", "no_cot", "untrained")
    for model in models:  # a run seldom has all of them
        assert contrast(name_colour(model), LIGHT["card"]) >= 4.5


def test_pictures_are_light_and_dark(full, tmp_path):
    write_report(full, tmp_path / "deep" / "pictures")
    names = sorted(path.name for path in (tmp_path / "deep" / "pictures").iterdir())
    assert names == [
        f"{name}-{ground}.svg"
        for name in ("accuracy", "loss", "tokens")
        for ground in ("dark", "light")
    ]
    for name, palette, other in (("dark", DARK, LIGHT), ("light", LIGHT, DARK)):
        text = (tmp_path / "deep" / "pictures" / f"accuracy-{name}.svg").read_text()
        ElementTree.fromstring(text)
        assert palette["internalized"].lower() in text.lower()
        assert other["internalized"].lower() not in text.lower()
        assert ">internalized<" in text


@pytest.mark.parametrize("losses", [(0.9, 1.1), (0.31, 0.39), (0.02, 0.021), (3.0, 9.0), (5, 5)])
def test_a_small_range_of_losses_has_labels(full, losses):
    names = ("explicit", "internalized", "no_cot")
    for name in names:
        known = [json.loads(line) for line in (full / name / "metrics.jsonl").open()]
        steps = [each for each in known if each["event"] == "train"]
        for number, each in enumerate(steps):
            each["loss"] = losses[number % 2]
            each["step"] = number + 1
        write_lines(full / name / "metrics.jsonl", steps)
    write_report(full)
    figure = drawn(full, "Mean loss")
    ticks = re.findall(r'id="loss-(.)tick_\d+".*?>([\d.,]+)</text>', figure, re.DOTALL)
    for axis in "xy":
        labels = [text for which, text in ticks if which == axis]
        assert len(labels) >= 3
        assert len(set(labels)) == len(labels), labels


def test_names_keep_clear_of_the_curve():
    flat = [(2.0, 98.0), (10.0, 97.0)]
    points, names = [(2.0, 98.0), (2.0, 90.0)], ["internalized", "no CoT"]
    ((height, right), (low, _)) = plot_labels.beside_points(points, [flat], names)
    assert right
    assert height > 98
    assert low == 90
    two = [flat, [(2.0, 107.0), (10.0, 107.0)]]
    assert plot_labels.beside_points([(2.0, 98.0)], two, ["no CoT"])[0][0] < 98


def test_names_of_models_that_all_fail_keep_clear_of_each_other():
    points, names = [(8.0, 0.0)] * 2 + [(5.0, 0.0)] * 2 + [(16.0, 0.0)], ["partly internalized"] * 5
    places = plot_labels.beside_points(points, [[(8.0, 0.0), (5.0, 0.0)]], names)
    heights = sorted(height for height, _ in places)
    assert min(high - low for low, high in itertools.pairwise(heights)) >= 6.5
    assert heights[0] == 0  # where nothing is, a name stands beside its point
