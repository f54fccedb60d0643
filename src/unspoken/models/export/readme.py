"""README.md of an exported model: what it is, how it came about, how it is asked."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unspoken.common.errors import RecipeError, one_word
from unspoken.common.plain_yaml import read_yaml
from unspoken.common.version import __version__
from unspoken.models.card import ModelCard
from unspoken.models.download import Download
from unspoken.models.local import is_local
from unspoken.recipe import layout

_MADE, _FIGURES = "## How it was made", "## What it can do"
_FURTHEST = 5  # folders between a model and the run folder, levels and phases counted


@dataclass(frozen=True)
class Story:
    """Where a model comes from, as far as files tell.

    Attributes:
        base: the base model for people; None for a model that unspoken trained from scratch or
            whole and of which nothing else is known.
        base_repo: its name on the hub, or None.
        base_commit: full hash, or None.
        merged: whether an adapter was merged.
        quantization: of the base while the adapter was trained, or None.
        run: name of the run, or None.
        stage: of the run, such as internalized, or None.
        evaluation: what evaluation.json beside the model says about it, or None.
        earlier: README.md of the export that is exported again; empty: it is none.
    """

    base: str | None
    base_repo: str | None
    base_commit: str | None
    merged: bool
    quantization: str | None
    run: str | None
    stage: str | None
    evaluation: dict[str, Any] | None
    earlier: str = ""


def read_story(base: Path, adapter: Path | None) -> Story:
    """What the folders of a model, and the run folder around it, tell."""
    trained = adapter or base
    run, recipe = _run_of(trained)
    section = recipe.get("model") or {}
    named = str(base) if adapter else section.get("name")
    record = Download.read(named) if named else None
    if record is not None:
        label, repo, commit = record.repo, record.repo, record.commit
    elif named is not None and is_local(named):
        label, repo, commit = Path(named).resolve().name, None, None
    else:
        label, repo, commit = named, named, section.get("revision")
    if adapter and repo is None and section.get("name") and not Path(section["name"]).exists():
        label = repo = section["name"]  # the recipe had the hub's name
        commit = section.get("revision")
    return Story(
        base=label,
        base_repo=repo,
        base_commit=commit,
        merged=adapter is not None,
        quantization=section.get("quantization") if adapter else None,
        run=recipe.get("name"),
        stage=trained.resolve().relative_to(run).parts[0] if run else None,
        evaluation=_evaluation(trained),
        earlier="" if adapter else _earlier(base),
    )


def _earlier(folder: Path) -> str:
    """README.md of a folder that `unspoken export` wrote; empty for another folder."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (folder / "README.md").read_text(encoding="utf-8")
        return text if f"{_MADE}\n" in text and "; exported by unspoken " in text else ""
    return ""


def _part(text: str, start: str, end: str) -> str:
    """What stands between two marks; empty where one of them is missing."""
    after = text.partition(start)[2]
    return after.partition(end)[0].strip() if end in after else ""


def _run_of(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The run folder around a model, and its recipe."""
    for parent in list(folder.resolve().parents)[:_FURTHEST]:
        path = parent / layout.RECIPE_FILE
        if path.is_file() and (parent / layout.ENVIRONMENT_FILE).is_file():
            try:
                values, _ = read_yaml(path.read_text(encoding="utf-8"), str(path))
            except (OSError, ValueError, RecipeError):
                return None, {}
            return (parent, values) if isinstance(values, dict) else (None, {})
    return None, {}


def _evaluation(trained: Path) -> dict[str, Any] | None:
    """The figures beside a model, if they are those of these very weights."""
    from unspoken.models.fingerprint import weights_hash

    path = trained.resolve().parent / layout.EVALUATION_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["accuracy"] is None or values["settings"]["model_sha256"] != weights_hash(
            trained
        ):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return values


def readme(
    name: str,
    story: Story,
    card: ModelCard | None,
    *,
    has_template: bool,
    problem: str | None,
    dtype: str,
) -> str:
    """The text of README.md, with the front matter that the hub reads.

    `card` is None where unspoken did not train the model; `problem` says why the prompt could not
    be written as a chat template.
    """
    front = _part(story.earlier, "---\n", "---\n")
    before = _part(story.earlier, _MADE, "\n## ")
    figures = _part(story.earlier, _FIGURES, "\n## ")
    parts = [
        f"---\n{front}\n---" if front else _front_matter(story),
        f"# {name}",
        _part(story.earlier, "\n# ", _MADE).partition("\n")[2].strip() or _what(story, card),
        _MADE,
        f"{before}\n{_exported(dtype)}" if before else _made(story, card, dtype),
        *([_FIGURES, figures] if figures else _measured(story)),
        "## How it is asked",
        *_asked(name, card, has_template, problem),
        "## License",
        "The license of the base model applies to this model, too"
        + (f": see {story.base}." if story.base else ", if it has one.")
        + " The data that it was trained on may bring terms of its own.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(story: Story) -> str:
    values: dict[str, Any] = {}
    if story.base_repo:
        values = {"base_model": story.base_repo, "base_model_relation": "finetune"}
    values |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["unspoken", "chain-of-thought", "distillation", "stepwise-internalization"],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---"


def _what(story: Story, card: ModelCard | None) -> str:
    if card is None:
        return "A language model, exported by unspoken. Its folder does not say how it was trained."
    if card.removed is None and story.stage == layout.NO_COT:
        return "A language model that was trained on answers alone, without chains of thought."
    if card.removed is None and story.stage == layout.AT_ONCE:
        return (
            "A language model that was trained on worked solutions, and then on answers alone: the "
            "whole chain of thought was removed at once."
        )
    if card.removed is None:
        return (
            "A language model that answers at once: it was trained on worked solutions, which were "
            "removed token by token during training (Stepwise Internalization, "
            "[arXiv 2405.14838](https://arxiv.org/abs/2405.14838))."
        )
    if card.removed:
        gone = (
            "1 token of which was" if card.removed == 1 else f"{card.removed} tokens of which were"
        )
        return (
            f"A language model that writes a shortened chain of thought, {gone} removed during "
            "training, and then its answer."
        )
    return "A language model that writes a chain of thought and then its answer."


def _made(story: Story, card: ModelCard | None, dtype: str) -> str:
    lines = []
    if story.base:
        commit = f" at commit {story.base_commit}" if story.base_commit else ""
        lines.append(f"- base model: {story.base}{commit}")
    if card is not None:
        lines.append(f"- trained by unspoken {card.unspoken_version}, step {card.step:,}")
    if story.run:
        lines.append(f"- run: {story.run}, stage {story.stage}")
    if story.merged:
        lines.append("- a LoRA adapter, merged into the base model's unquantized weights")
    if story.quantization:
        lines.append(
            f"- the adapter was trained on {story.quantization} weights. It is not merged into "
            "those, because every sum would be rounded to 4 bits again; answers can differ a "
            "little from those in training"
        )
    return "\n".join([*lines, _exported(dtype)])


def _exported(dtype: str) -> str:
    return f"- weights: {dtype}, safetensors; exported by unspoken {__version__}"


def _measured(story: Story) -> list[str]:
    values = story.evaluation
    if values is None:
        return []
    settings = values["settings"]
    interval = values.get("interval")
    between = f" ({interval[0]:.1%} to {interval[1]:.1%}, 95 %)" if interval else ""
    text = (
        f"Accuracy {values['accuracy']:.1%}{between} on {values['num_graded']:,} questions of the "
        f"{settings.get('split', 'test')} split, with {values['mean_tokens']:.1f} tokens written "
        "per question."
    )
    if story.merged:
        how = f" on {story.quantization} weights" if story.quantization else ""
        text += f" It was measured before the adapter was merged{how}."
    return [_FIGURES, text]


def _asked(name: str, card: ModelCard | None, has_template: bool, problem: str | None) -> list[str]:
    parts = []
    if card is not None:
        prompt = json.dumps(card.example_prompt, ensure_ascii=False)
        parts.append(
            f"With one question, by the template `{card.template}`: {prompt}. It ends by itself "
            f"within {card.max_new_tokens} tokens and is decoded greedily (`generation_config.json`"
            " says so to transformers and vLLM)."
        )
    if problem is not None:
        parts.append(f"There is no chat template: {problem}. Send the prompt itself.")
    if has_template:
        if card is not None and card.template != "chat":
            parts.append("The chat template renders this prompt from a single user message.")
        parts += [_TRANSFORMERS_CHAT, _serve(name, chat=True)]
    else:
        parts += [_TRANSFORMERS_TEXT, _serve(name, chat=False)]
    return parts


_LOAD = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
"""
_ANSWER = """\
answer = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```"""
_TRANSFORMERS_CHAT = f"""{_LOAD}\
inputs = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "QUESTION"}}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True,
)
{_ANSWER}"""
_TRANSFORMERS_TEXT = f"""{_LOAD}\
inputs = tokenizer("PROMPT", return_tensors="pt")
{_ANSWER}"""


def _serve(name: str, *, chat: bool) -> str:
    path = "chat/completions" if chat else "completions"
    message = {"role": "user", "content": "QUESTION"}
    asked = {"messages": [message]} if chat else {"prompt": "PROMPT"}
    request = json.dumps({"model": name, **asked}, ensure_ascii=False)
    return (
        f"```bash\nvllm serve . --served-model-name {one_word(name)}   # in this folder\n"
        f"curl http://localhost:8000/v1/{path} -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(request)}\n```"
    )
