"""`unspoken download`: the one verb that needs a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from unspoken.cli.options import Flag
from unspoken.common.errors import RecipeError
from unspoken.models.files import counterpart
from unspoken.models.hub import is_code

if TYPE_CHECKING:
    from unspoken.models.download import Download


def download(
    *,
    teacher: str | None = None,
    student: str | None = None,
    out_dir: Path = Path("models"),
    teacher_revision: str | None = None,
    student_revision: str | None = None,
    with_code: Flag = False,
    verify: Path | None = None,
) -> None:
    """Fetch models from the hub.

    Into OUT_DIR/teacher and OUT_DIR/student. Everything after it needs no network. Run it again
    after an interruption: it goes on where it stopped. A login is taken from HF_TOKEN or hf
    auth login.

    Parameters
    ----------
    teacher
        name on the hub, such as Qwen/Qwen2.5-14B-Instruct
    student
        name on the hub, such as Qwen/Qwen2.5-7B
    out_dir
        folder for both
    teacher_revision
        branch, tag or commit hash (default: main)
    student_revision
        the same for the student
    with_code
        fetch Python files that came with the models, too; read them before you trust them
    verify
        fetch nothing: compare this folder, downloaded elsewhere and copied, with its download.json
    """
    from unspoken.models.download import (
        finish_download,
        plan_download,
        require_space,
    )

    if verify is not None:
        _verify(verify, teacher, student)
        return
    wanted = _named(("teacher", teacher, teacher_revision), ("student", student, student_revision))
    for _, repo, _ in wanted:
        if other := counterpart(repo):  # before gigabytes are fetched
            print(f"note: {repo}: {other}", flush=True)
    plans = [
        plan_download(repo, out_dir / name, revision=revision, with_code=with_code)
        for name, repo, revision in wanted
    ]
    require_space(plans)
    for plan in plans:
        for line in _before(plan):
            print(line, flush=True)
        done = finish_download(plan)
        if plan.missing:
            print(f"{done.folder}: whole, pinned at commit {done.commit}")
        hint = _code_hint(done)
        if hint is not None:
            print(f"note: {hint}")


def _named(*wanted: tuple[str, str | None, str | None]) -> list[tuple[str, str, str | None]]:
    """Of flag, name and revision those that have a name.

    Raises:
        RecipeError: none has, or a revision is given without one.
    """
    for flag, repo, revision in wanted:
        if repo is None and revision is not None:
            raise RecipeError(
                f"--{flag}_revision: found it without --{flag}; needed: the model that it belongs "
                f"to; give --{flag} OWNER/NAME"
            )
    named = [(flag, repo, revision) for flag, repo, revision in wanted if repo is not None]
    if not named:
        raise RecipeError(
            "--teacher, --student: found neither; needed: at least one; give a name on the hub, "
            "such as --student Qwen/Qwen2.5-7B"
        )
    return named


def _verify(folder: Path, teacher: str | None, student: str | None) -> None:
    """Compares a folder with its download.json and prints that they agree, or raises."""
    from unspoken.models.download import verify_download

    if teacher is not None or student is not None:
        raise RecipeError(
            "--verify: found it with --teacher or --student; needed: either; give it alone"
        )
    record = verify_download(folder)
    print(
        f"{folder}: {record.repo} at commit {record.commit}, {len(record.files)} files, every "
        "SHA-256 as it was downloaded"
    )


def _before(plan: Download) -> list[str]:
    """What is said before files are fetched, or in place of it."""
    if not plan.missing:
        why = "" if plan.hub_asked else " (the hub was not asked)"
        return [f"{plan.folder}: {plan.repo} is whole, pinned at commit {plan.commit}{why}"]
    present = plan.num_bytes - plan.num_missing_bytes
    lines = [
        f"{plan.folder}: {plan.repo} at commit {plan.commit}, {len(plan.files)} files, "
        f"{plan.num_bytes / 1e9:.2f} GB; {present / 1e9:.2f} GB are there already"
    ]
    if plan.weights == "bin":
        lines.append(
            "note: it has no safetensors, so .bin files are fetched, which are pickles; "
            "transformers reads only tensors from them"
        )
    return lines


def _code_hint(download: Download) -> str | None:
    """What to do about a model that cannot be loaded without Python code of its own, or None.

    A model whose architecture transformers knows needs no code, whatever its files say.
    """
    try:
        config = json.loads((download.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if "auto_map" not in config or any(is_code(file.path) for file in download.files):
        return None
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config.get("model_type") in CONFIG_MAPPING_NAMES:
        return None
    advice = (
        f"{download.repo} needs Python code of its own, which was not fetched. To use it, fetch "
        "it with --with_code, read it, and set trust_remote_code"
    )
    other = counterpart(str(download.folder))
    return f"{advice}; {other}." if other else f"{advice}."
