"""What the documents name exists: files, modules, functions, tests, commands; the map is whole."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from helpers.file_map import PACKAGE, map_lines, packages, written_map
from helpers.flags import require_words
from helpers.paths import ROOT
from unspoken.models.card import ModelCard
from unspoken.recipe import load_recipe
from unspoken.recipe.shipped import find_recipe

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "*/*.md")
    for path in ROOT.glob(pattern)
    if "runs" not in path.parts
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
#: Files in backticks that a run or a user makes.
MADE = {
    "recipe.yaml", "mine.yaml", "README.md", "accelerate.yaml",
}  # fmt: skip
TOP = {path.name for path in ROOT.iterdir()} - {"runs", "data", "models", "results"}
SUFFIXES = {".py", ".md", ".toml", ".yaml", ".sh", ".jinja"}


def spans(document: Path) -> Iterator[str]:
    """What stands in backticks in running text."""
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", document.read_text(encoding="utf-8")))


def named(pattern: str) -> list[tuple[str, str]]:
    """Document and word of every word in backticks that matches the pattern whole."""
    return sorted(
        {
            (document.relative_to(ROOT).as_posix(), word)
            for document in DOCUMENTS
            for span in spans(document)
            for word in span.split()
            if re.fullmatch(pattern, word)
        }
    )


def is_there(word: str, document: str) -> bool:
    """Whether a path names a file or folder: from the root, the package or the document."""
    homes = (ROOT, PACKAGE, (ROOT / document).parent)
    return any((home / word).exists() for home in homes)


def test_the_map_has_every_package_and_module_and_no_other() -> None:
    assert written_map() == "".join(map_lines()), "make map"
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(packages())
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__", "__main__"}


def test_every_path_that_a_document_names_exists() -> None:
    paths = [
        (document, word)
        for document, word in named(r"[\w.][\w./-]*")
        if (Path(word).suffix in SUFFIXES or word.split("/")[0] in TOP)
        and word not in MADE
        and "NAME" not in word
    ]
    assert len(paths) > 100
    missing = [each for each in paths if "/" in each[1] and not is_there(each[1], each[0])]
    assert not missing
    everywhere = {path.name for home in ("src", "tests", "benchmarks", "examples", "docs")
                  for path in (ROOT / home).rglob("*")} | TOP  # fmt: skip
    everywhere |= {path.name for path in (*ROOT.glob("recipes/*"), *ROOT.glob("configs/*"))}
    unknown = [each for each in paths if "/" not in each[1] and each[1] not in everywhere]
    assert not unknown


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        pictures = re.findall(r'(?:src|srcset)="([^"]+)"', FENCE.sub("", text))
        for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *pictures]:
            if not target.startswith(("http", "#")):
                assert (document.parent / target.partition("#")[0]).exists(), (document, target)


def test_every_name_of_the_package_that_a_document_names_exists() -> None:
    names = named(r"unspoken(\.\w+)+(\(.*)?")
    assert len(names) > 5
    for document, word in names:
        *path, last = word.partition("(")[0].split(".")[1:]
        if word in ("unspoken.json", "unspoken.sif", "unspoken.def"):  # files
            continue
        module = PACKAGE.joinpath(*path)
        if (module / last).is_dir() or (module / f"{last}.py").is_file():
            continue
        while not module.is_dir() and not module.with_suffix(".py").is_file():  # a class's method
            module = module.parent
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        assert re.search(rf"\b{last}\b", file.read_text(encoding="utf-8")), (document, word)


def test_every_class_and_private_function_that_is_named_for_developers_exists() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for document, word in named(r"_[a-z]\w+|[A-Z]\w*[a-z]\w*(\.\w+)?"):
        if document in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
            name, _, field = word.partition(".")
            assert re.search(rf"\b(?:class|def) {name}\b|^{name} =", code, re.MULTILINE), word
            assert not field or re.search(rf"^ +{field}: ", code, re.MULTILINE), word


def test_a_function_stands_in_the_file_that_is_named_with_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    pairs = re.findall(r"`(\w+)`(?: in | \(|, in )`([\w/]+\.py)`", text)
    pairs += [(name, file) for file, name in re.findall(r"`([\w/]+\.py)`, `(\w+)`(?! in)", text)]
    assert len(pairs) > 8
    for name, file in pairs:
        code = (PACKAGE / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?: *def |class )?{name}\b", code, re.MULTILINE), (name, file)


def test_every_test_that_a_document_names_exists() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    for document, word in named(r"test_\w+"):
        assert f"def {word}(" in code, (document, word)


def test_every_target_of_make_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([\w/-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        used = set(re.findall(r"(?:`|^ +)make ([a-z][\w/-]*)", text, re.MULTILINE))
        assert used <= targets, (document, used - targets)


def messages() -> Iterator[str]:
    """The texts of the code, with `...` for what is put into them."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "..."
                         for part in node.values)  # fmt: skip
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub("%[sd]", "...", node.value)


def test_every_message_that_is_quoted_for_troubleshooting_is_one_of_the_code() -> None:
    guide = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", guide, re.MULTILINE)
    quoted = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if " " in span]
    assert len(quoted) > 25
    told = list(messages())
    unknown = [
        quote
        for quote in quoted
        if not any(map(re.compile(".*".join(map(re.escape, quote.split("...")))).search, told))
    ]
    assert not unknown


def commands() -> Iterator[tuple[str, str]]:
    """Document and line of each command of unspoken's that stands in a block of commands."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = "\n".join([*FENCE.findall(text), *re.findall(r"^    (.*)$", text, re.MULTILINE)])
        for line in re.findall(r"^unspoken (?:[^\n>|&]+)", blocks, re.MULTILINE):
            yield document.relative_to(ROOT).as_posix(), line


#: What stands in the documents for values of the reader's own.
PLACEHOLDERS = {
    "--role ...": "--role arn:aws:iam::123456789012:role/unspoken",
    "--bucket ...": "--bucket unspoken-runs",
    "$ACCOUNT": "123456789012",
    "$BUCKET": "unspoken-runs",
}


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "UNSPOKEN_CACHE"])
def test_a_variable_by_which_users_decide_something_stands_in_a_guide(variable: str) -> None:
    assert any(variable in guide.read_text(encoding="utf-8") for guide in ROOT.glob("docs/*.md"))


def test_every_field_of_a_model_card_stands_in_the_list_of_files() -> None:
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", text.partition("## unspoken.json")[2].partition("\n## ")[0]))
    assert {field.name for field in fields(ModelCard)} <= told


@pytest.mark.parametrize(("document", "line"), list(commands()))
def test_every_command_in_a_document_has_the_flags_and_settings_that_it_names(
    document: str, line: str, tmp_path: Path
) -> None:
    image = tmp_path / "unspoken.sif"
    image.touch()
    for placeholder, value in {**PLACEHOLDERS, "unspoken.sif": str(image)}.items():
        line = line.replace(placeholder, value)
    tokens = shlex.split(line, comments=True)[1:]
    require_words(tokens)
    if tokens[0] in ("run", "check") and tokens[1].islower():
        settings = [token for token in tokens[2:] if "=" in token and not token.startswith("-")]
        path = ROOT / tokens[1]
        load_recipe(path if path.is_file() else find_recipe(tokens[1]), settings)
