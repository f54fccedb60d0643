"""What was meant by a name that nothing has: something that is there and spelled nearly so."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

#: Names of a folder that are looked at, and characters of what was typed.
_MOST_NAMES, _MOST_CHARACTERS = 10_000, 200


def nearest_name(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of some names that is spelled most like this one; None where none is near.

    Args:
        name: as it was typed; capitals do not count.
        known: names that there are.
        cutoff: how alike they have to be, from 0 to 1.

    Examples:
        >>> nearest_name("quikstart", ["quickstart", "gsm8k"])
        'quickstart'
    """
    return next(iter(_nearest(name, known, cutoff)), None)


def nearest_path(path: str | os.PathLike[str], fits: Callable[[Path], bool] | None = None) -> str:
    """The path that is there and spelled most like one that is not; empty where none is near.

    Each part that is not there is looked for among what stands beside it.

    Args:
        path: as it was typed.
        fits: what is meant, such as `Path.is_dir`; None: anything.
    """
    *folders, last = Path(path).parts or ("",)
    found = Path()
    try:
        for part in folders:
            found = next(iter(_like(found, part, Path.is_dir)), None) or found / part
        return str(next(iter(_like(found, last, fits)), ""))
    except (OSError, ValueError):  # a folder that may not be looked into, a name that cannot be
        return ""


def path_remedy(
    path: str | os.PathLike[str],
    otherwise: str = "correct the path",
    fits: Callable[[Path], bool] | None = None,
) -> str:
    """What to do about a path that is not there: `did you mean ...?`, where something is near.

    Args:
        path, fits: as in `nearest_path`.
        otherwise: where nothing is.
    """
    near = nearest_path(path, fits)
    return f"did you mean {near}?" if near else otherwise


def _like(folder: Path, name: str, fits: Callable[[Path], bool] | None) -> list[Path]:
    """Of a folder, what has this name and, if nothing has, what has one like it."""
    whole = folder / name
    if not name or (whole.exists() and (fits is None or fits(whole))):
        return [whole] if name else []
    shown = (entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = _nearest(name, itertools.islice(shown, _MOST_NAMES), 0.6)
    return [folder / each for each in near if fits is None or fits(folder / each)]


def _nearest(name: str, known: Iterable[str], cutoff: float) -> list[str]:
    plain = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name[:_MOST_CHARACTERS].lower(), plain, 5, cutoff)
    return [plain[each] for each in near]
