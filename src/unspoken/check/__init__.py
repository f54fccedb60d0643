"""`unspoken check`: what can be known about a recipe before time and money are spent on it.

Data is read or, for a task, sampled; models are built without memory; questions, tokens, steps,
floating-point operations, memory, disk and money are counted. What cannot be known here, such as
a hub model without a network, is said and not guessed.

`data` says what is read, `teacher` what it is asked, `student` what is trained and what that takes,
`machine` what has to be installed. `offline` is for launchers of jobs that have no network.
"""

from __future__ import annotations

from collections.abc import Iterator

from unspoken.check.data import read_sample
from unspoken.check.machine import check_machine
from unspoken.check.student import check_student
from unspoken.check.teacher import check_teacher
from unspoken.recipe import Recipe
from unspoken.recipe.plan import plan


def check_recipe(recipe: Recipe) -> Iterator[str]:
    """Yields one line per finding.

    Raises:
        UnspokenError: the recipe cannot run as it stands; the message says what to do.
    """
    phases = recipe.resolved_phases()
    yield f"recipe {recipe.name}: {len(phases)} phase(s), run folder {recipe.folder}"
    yield f"models: {plan(recipe)}"
    yield from check_machine(recipe)
    for number, phase in enumerate(phases):
        prefix = "" if len(phases) == 1 else f"[{number + 1} {phase.name}] "
        for line in _check_phase(phase):
            yield prefix + line


def _check_phase(recipe: Recipe) -> Iterator[str]:
    sample = read_sample(recipe)
    yield f"data: {sample.note}"
    if recipe.teacher is not None:
        sample = yield from check_teacher(recipe, recipe.teacher, sample)
    yield from check_student(recipe, sample)
