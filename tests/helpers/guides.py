"""The commands of a guide in docs/, as its readers give them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from unspoken.cli.main import main

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def guide_commands(guide: str, language: str, programs: tuple[str, ...]) -> Iterator[list[str]]:
    """Yields the words of each command of these programs in the fences of this language."""
    for line in _lines(guide, language):
        if line.startswith(programs):
            yield shlex.split(line)


def run_guide(guide: str, shorter: Mapping[str, Sequence[str]]) -> None:
    """Runs the commands of the fences with `bash`, in this folder; those of unspoken in here.

    Args:
        guide: text of the page.
        shorter: what is added to a verb's command, so that it is short.
    """
    for line in _lines(guide, "bash"):
        words = shlex.split(line)
        if words[0] == "unspoken":
            main([*words[1:], *shorter.get(words[1], [])])
        else:
            subprocess.run(["bash", "-c", line], check=True)


def _lines(guide: str, language: str) -> Iterator[str]:
    for found, block in _FENCE.findall(guide):
        if found == language:
            yield from filter(None, block.replace("\\\n", " ").splitlines())
