"""What a run folder holds, and under which names."""

from __future__ import annotations

from pathlib import Path

from unspoken.common.errors import OutputExistsError

#: In their order; `--from` takes one of them.
STAGES = (
    "data", "teacher", "generate", "vet", "distil", "internalize", "baselines", "evaluate",
    "report",
)  # fmt: skip


def require_run_folder(folder: Path) -> None:
    """Checks that a folder is a run's, or may become one.

    Raises:
        OutputExistsError: it is a file, or holds files of something else.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(
            f"{folder}: found a file; needed: a folder; choose another with output=FOLDER"
        )
    is_run = (folder / "recipe.yaml").exists() or any(folder.glob("data/**/stage.json"))
    others = (path for path in folder.glob("*") if path.name != ".run.lock")
    if not is_run and any(others):
        raise OutputExistsError(
            f"{folder}: holds files but no recipe.yaml, so it is not a run folder; "
            "choose another with output=FOLDER, or give --overwrite"
        )
