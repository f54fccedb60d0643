"""`unspoken shard`: what the jobs of an array call."""

from __future__ import annotations

import sys
from pathlib import Path

from unspoken.cli.options import Flag
from unspoken.cli.output import say, silence_libraries
from unspoken.cli.traces import parse_shard, summary_lines
from unspoken.common.errors import RecipeError, SettingError
from unspoken.common.interrupt import EXIT_INTERRUPTED


def shard(
    recipe: Path,
    *overrides: str,
    prepare: Flag = False,
    shard: str | None = None,
    at_once: int | None = None,
    merge: int | None = None,
) -> None:
    """Write a teacher's traces in shares, in jobs of an array.

    First once with --prepare, then for each share with --shard, then once with --merge; then
    unspoken run goes on as if it had written them itself.

    Parameters
    ----------
    recipe
        YAML file, or name of a recipe that unspoken recipes lists; with a section teacher
    overrides
        section.key=value, as for unspoken run
    prepare
        make the data, and train a teacher from scratch
    shard
        such as 3/16: write the third of sixteen shares
    at_once
        so many shares are written at the same time (default: all); they divide requests_per_minute
        and concurrency of a server among them
    merge
        join so many shares
    """
    if [prepare, shard is not None, merge is not None].count(True) != 1:
        raise RecipeError(
            "shard: needed: one of --prepare, --shard PART/PARTS and --merge PARTS; give it"
        )
    for name, count in {"merge": merge, "at_once": at_once}.items():
        if count is not None and count < 1:
            raise SettingError(name, found=count, needed="at least 1", remedy="correct it")
    from unspoken.recipe import load_to_run

    loaded = load_to_run(recipe, overrides)
    part = parse_shard(shard)
    silence_libraries()
    from unspoken.run import shards

    if prepare:
        shards.prepare(loaded, say=say)
    elif merge is not None:
        say(shards.merge(loaded, merge))
    else:
        summary = shards.write_shard(loaded, part, at_once=at_once)
        print("\n".join(["nothing to do"] if summary is None else summary_lines(summary)))
        if summary is not None and summary.interrupted:
            sys.exit(EXIT_INTERRUPTED)
