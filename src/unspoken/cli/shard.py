"""`unspoken shard`: what the jobs of an array call."""

from __future__ import annotations

import sys
from pathlib import Path

from unspoken.cli.launch_slurm import _say
from unspoken.cli.options import Flag, quiet
from unspoken.common.errors import RecipeError
from unspoken.common.interrupt import EXIT_INTERRUPTED


def shard(
    recipe: Path,
    *overrides: str,
    prepare: Flag = False,
    shard: str | None = None,
    at_once: int | None = None,
    merge: int | None = None,
) -> None:
    """Write a teacher's traces in shares, on several machines: what an array of jobs calls.

    First once with --prepare, then for each share with --shard, then once with --merge; then
    unspoken run goes on as if it had written them itself.

    Parameters
    ----------
    recipe
        YAML file with a section teacher.
    overrides
        section.key=value.
    prepare
        Make the data, and train a teacher from scratch.
    shard
        Such as 3/16: write the third of sixteen shares.
    at_once
        So many shares are written at the same time (default: all); they divide requests_per_minute
        and concurrency of a server among them.
    merge
        Join so many shares.
    """
    if [prepare, shard is not None, merge is not None].count(True) != 1:
        raise RecipeError(
            "shard: needed: one of --prepare, --shard PART/PARTS and --merge PARTS; give it"
        )
    for flag, count in {"merge": merge, "at_once": at_once}.items():
        if count is not None and count < 1:
            raise RecipeError(f"--{flag}: found {count}; needed: at least 1; correct it")
    from unspoken.cli.generate import parse_shard, summary_lines
    from unspoken.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    part = parse_shard(shard)
    quiet()
    from unspoken.run import shards

    if prepare:
        shards.prepare(loaded, say=_say)
    elif merge is not None:
        _say(shards.merge(loaded, merge))
    else:
        summary = shards.write_shard(loaded, part, at_once=at_once)
        print("\n".join(["nothing to do"] if summary is None else summary_lines(summary)))
        if summary is not None and summary.interrupted:
            sys.exit(EXIT_INTERRUPTED)
