"""Run folders as a run would leave them, written by hand, and their pages read back."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import yaml

from unspoken.measure.stats import wilson_interval
from unspoken.report.read.run import read_run
from unspoken.report.show.conclusion import conclude

NUM_TEST = 40


LONGEST = 4


TOKENS = {"explicit": 9.0, "internalized": 5.0, "no_cot": 5.0}


SPEED = {"explicit": 50.0, "internalized": 110.0, "no_cot": 112.0}


def evaluation(name, num_correct, *, split="test", graded=True):
    right = num_correct if graded else 0
    return {
        "settings": {"split": split, "evaluate": {"limit": None}},
        "num_questions": NUM_TEST,
        "num_graded": NUM_TEST if graded else 0,
        "num_correct": right,
        "accuracy": right / NUM_TEST if graded else None,
        "interval": list(wilson_interval(right, NUM_TEST)) if graded else None,
        "digit_accuracy": 0.875 if graded else None,
        "unstopped": 0.025,
        "mean_tokens": TOKENS[name],
        "examples_per_s": 10 * SPEED[name],
        "batch_size": 8,
        "latency_p50_s": 1 / SPEED[name],
        "latency_p95_s": 2 / SPEED[name],
        "examples_per_s_single": SPEED[name],
        "seconds": NUM_TEST / (10 * SPEED[name]),
        "num_tokens": int(NUM_TEST * TOKENS[name]),
        "tokens_per_s": 10 * SPEED[name] * TOKENS[name],
        "categories": {},
        "samples": None,
        "classes": None,
    }


def predictions(name, num_correct, question="{} * 2"):
    for number in range(NUM_TEST):
        right = number < num_correct
        thought = "1 + 1 " if name == "explicit" else ""
        yield {
            "question": question.format(number),
            "generated": f"{thought}#### {2 * number + (not right)}",
            "pred": str(2 * number + (not right)),
            "gold": str(2 * number),
            "correct": right,
            "num_prompt_tokens": 4,
            "num_tokens": int(TOKENS[name]),
            "stopped": True,
        }


def stage(removed, *, status="done", steps=100):
    everything = removed >= LONGEST
    return {
        "status": status,
        "level": "all" if everything else f"{removed:04d}",
        "state": {"step": steps, "seconds": 90.0, "all_removed_at": 60 if everything else None},
        "num_parameters": 407_424,
        "num_train": 500,
        "num_dropped": 3,
        "longest_thought": LONGEST,
        "peak_memory_bytes": {"host": 300 << 20},
    }


def metrics(removed_at_step, steps=100):
    for step in range(10, steps + 1, 10):
        removed = removed_at_step(step)
        yield {"step": step, "event": "train", "loss": 10 / step, "removed": removed}
        if step % 20 == 0:
            yield {
                "step": step,
                "event": "valid",
                "removed": removed,
                "num_questions": 20,
                "accuracy": step / 100,
                "mean_tokens": 9.0 - removed,
            }


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def write_lines(path, records):
    write(path, "".join(json.dumps(record) + "\n" for record in records))


REMOVED = {
    "explicit": lambda step: 0,
    "internalized": lambda step: min(LONGEST, step // 15),
    "no_cot": lambda step: LONGEST,
}


def make_variant(folder, name, num_correct, *, final=None, **options):
    """One model, trained and measured."""
    question = options.pop("question", "{} * 2")
    removed = REMOVED[name](100) if final is None else final
    write(folder / "stage.json", stage(removed))
    write_lines(folder / "metrics.jsonl", metrics(lambda step: min(removed, REMOVED[name](step))))
    write(folder / "evaluation.json", evaluation(name, num_correct, **options))
    write_lines(folder / "predictions.jsonl", predictions(name, num_correct, question))


def write_latency(folder, medians, *, num=12, turns=None, key="", spread=0.02):
    """latency.json of models that are as they were evaluated: name -> median of its seconds."""
    models = {
        name: json.loads((folder / name / key / "evaluation.json").read_text())["settings"]
        for name in medians
    }
    steps = [spread * (number - (num - 1) / 2) / num for number in range(num)]
    record = {
        "settings": {"models": models},
        "models": {
            name: {"seconds": [median * (1 + step) for step in steps], "num_tokens": [5] * num}
            for name, median in medians.items()
        },
        "turns": turns,
        "not_timed": {},
        "wall_seconds": 4.0,
    }
    write(folder / "latency" / key / "latency.json", record)


def make_run(folder, *, explicit="train", no_cot=True, phases=(), **settings):
    """A run folder without any model."""
    recipe = {
        "name": "tiny",
        "description": "A test.",
        "seed": 7,
        "data": {"task": "multiplication"},
        "model": {"name": "gpt2"},
        "train": {"max_steps": 100},
        "baselines": {"explicit": explicit, "no_cot": no_cot},
        "phases": [{"name": name} for name in phases],
        **settings,
    }
    write(folder / "recipe.yaml", yaml.safe_dump(recipe))
    data = [{"train": "a" * 64, "test": "b" * 64}] * max(1, len(phases))
    write(
        folder / "environment.json",
        {
            "command": "unspoken run tiny.yaml 'name=<b>'",
            "started": "2026-01-02T03:04:05+00:00",
            "seed": 7,
            "data": data,
            "versions": {"unspoken": "0.1.0", "torch": "2.9"},
            "git_revision": "c0ffee",
            "machine": {"system": "Linux", "processor": "A CPU", "num_threads": 2, "gpu": None},
        },
    )
    return folder


class Page(HTMLParser):
    """What a page loads, its scripts, its text, and whether its elements are closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids, self.open, self.text = [], [], [], [], ""
        self.tags, self.scripts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        (self.links if tag == "a" else self.loads).extend(
            values[key] for key in ("src", "href", "srcset") if values.get(key)
        )
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data


def read_page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def read_values(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def drawn(folder, words):
    """The `<svg>` element of the report's figure that has these words."""
    source = (folder / "report.html").read_text(encoding="utf-8")
    found = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    return next(element for element in found if words in element)


def lead(folder):
    return conclude(read_run(folder).phases[0]).lead.replace("\u00a0", " ")
