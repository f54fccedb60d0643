"""The map of the packages in ARCHITECTURE.md: one line a module, from the docstrings.

`make map` writes it anew; a test compares.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from helpers.paths import ROOT

PACKAGE = ROOT / "src" / "unspoken"
DOCUMENT = ROOT / "ARCHITECTURE.md"
BEGIN = "<!-- from the docstrings, by `make map` -->\n"
END = "<!-- end of the map -->\n"
_CONTRACT = re.compile(r"^layers = \[(.*?)\]", re.MULTILINE | re.DOTALL)


def packages() -> list[str]:
    """The packages in the order of the contract in pyproject.toml, the lowest first."""
    contract = _CONTRACT.findall((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[0]
    return re.findall(r"[a-z]+", contract)[::-1]


def first_line(module: Path) -> str:
    """The first line of a module's docstring.

    Raises:
        ValueError: it has none.
    """
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{module}: no docstring")
    return docstring.splitlines()[0]


def map_lines() -> Iterator[str]:
    """The map: a heading for each package, a line for each package in it and each module."""
    for name in packages():
        folder = PACKAGE / name
        yield f"\n**`{name}/`** {first_line(folder / '__init__.py')}\n\n"
        yield from _lines(folder)
    yield "\n"


def _lines(folder: Path) -> Iterator[str]:
    for module in sorted(folder.glob("*.py")):
        if module.name != "__init__.py":
            yield f"- `{module.relative_to(PACKAGE)}` {first_line(module)}\n"
    for package in sorted(folder.glob("*/__init__.py")):
        yield f"- `{package.parent.relative_to(PACKAGE)}/` {first_line(package)}\n"
        yield from _lines(package.parent)


def written_map() -> str:
    """The map as it stands in the document."""
    return DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write_map() -> None:
    """Puts the map of today into the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}{''.join(map_lines())}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_map()
