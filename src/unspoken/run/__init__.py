"""`unspoken run`: from a recipe to a report, stage by stage, skipping what is done.

A run folder holds everything that the run read, wrote and measured:

    recipe.yaml  environment.json      settings with all defaults; command, versions, data hashes
    data/                              what unspoken made or converted
    teacher/                           a teacher from scratch, and how the teacher does on the test
    traces/  vetted/                   what the teacher wrote; what was kept, and what was not
    distilled/                         the student that writes its thought
    internalized/                      the student that does not
    explicit/  at_once/  no_cot/       the baselines
    frontier/                          levels of removal trained until they are good, and choices
    untrained/                         only how the student did before any training
    latency/                           how fast all of them are, timed in turns
    report.html  report.json  plots/
    old/1/                             what was set aside when settings changed

A folder of a stage has a stage.json: its settings and inputs, whether it is done, what it took. A
stage whose settings and inputs are the same is skipped; else what it left is set aside and it
runs again, and so does everything that depends on what comes out. With several phases, each
variant has one such folder per phase inside.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """This package; as a function it is `unspoken.run.api.run`, so that both have their name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from unspoken.run.api import run

        return run(*arguments, **options)


sys.modules[__name__].__class__ = _Called
