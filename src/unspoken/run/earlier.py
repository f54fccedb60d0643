"""Which earlier traces a run need not ask for again, and which it must not take over.

Those of the run itself, of what it set aside and of the run that it takes from count; what of
them answers the present questions `unspoken.teach.traces.earlier` finds out.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError
from unspoken.recipe import Recipe, layout
from unspoken.recipe.records import TracesRecord
from unspoken.run.old import OldFolder
from unspoken.run.settings import changes
from unspoken.teach.traces.together import begun_files


def earlier_traces(
    recipe: Recipe, settings: dict[str, Any], pattern: str, *, but: Path
) -> list[Path]:
    """Files of traces by a pattern of their names; the first ones count most.

    Those of another server are not among them, nor what is older than traces that were asked
    for again on purpose.

    Args:
        recipe: of the run.
        settings: that decide the teacher's words now, as in a stage.json.
        pattern: such as "traces.jsonl".
        but: the output, which is left out.
    """
    own, files = recipe.folder / layout.TRACES, []
    places = [own, *OldFolder(recipe.folder, replace=False).places(own)]
    if recipe.from_run is not None:
        places.append(recipe.from_run / layout.TRACES)
    for place in places:
        with contextlib.suppress(DataError):  # of another version
            record = TracesRecord.read(place / layout.STAGE_FILE)
            if record is not None and _server(record.settings) == _server(settings):
                files += begun_files(place, pattern, but=but)
                if record.as_asked and _asks_alike(record.settings, settings):
                    break
    return files


def _server(settings: dict[str, Any]) -> tuple[Any, Any]:
    """The address of a teacher and what is in its model's folder: its traces tell only its name."""
    teacher = settings.get("teacher", {})
    return teacher.get("base_url"), (teacher.get("model") or {}).get("fingerprint")


def _asks_alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a teacher is asked in the same way, whatever the questions and however often."""
    return not changes(
        {"teacher": {**one["teacher"], "samples_per_question": 1}},
        {"teacher": {**other["teacher"], "samples_per_question": 1}},
    )
