"""Pages of the site that are made from the code and from documents outside docs/.

MkDocs calls `on_files`, `on_page_markdown` and their like (hooks of mkdocs.yml). Recipe keys come
from the settings' own types, commands from the command line's, packages from their docstrings, so
none of them is written twice.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unspoken.cli.verbs import VERBS, application
from unspoken.recipe import Recipe
from unspoken.recipe.sections import section_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Documents that stand elsewhere because people look for them there, and their page.
ELSEWHERE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "made/architecture.md",
    "CONTRIBUTING.md": "made/contributing.md",
    "CHANGELOG.md": "made/changelog.md",
    "recipes/README.md": "made/recipes.md",
    "benchmarks/README.md": "made/benchmarks.md",
    "benchmarks/gpu.md": "made/gpu.md",
}
#: What Material's offline plugin loads so that search works where the site is opened as a file.
SHIM = "https://unpkg.com/iframe-worker/shim"
INLINE = re.compile(r"<code>[^<\n]*</code>")
FLAG = re.compile(r"(?<![\w-])--\w[\w-]*")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    pages = {
        "made/recipe-keys.md": recipe_keys(),
        "made/commands.md": commands(),
        **{page: (ROOT / name).read_text("utf-8") for name, page in ELSEWHERE.items()},
        **{f"made/packages/{name}.md": package(name) for name in packages()},
    }
    files.append(File.generated(config, "worker.js", content=(HERE / "worker.js").read_text()))
    files.append(File.generated(config, "style.css", content=(HERE / "style.css").read_text()))
    for path, text in pages.items():
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, content=text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the packages into the navigation."""
    reference = next(each["Reference"] for each in config.nav or [] if "Reference" in each)
    listed = [f"made/packages/{name}.md" for name in packages()]
    reference[-1] = {"Packages": listed}
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to the pages of the site; what is not on the site becomes plain text."""
    homes = {page: name for name, page in ELSEWHERE.items()}
    home = PurePosixPath(homes.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent

    def led(match: re.Match[str]) -> str:
        sign, text, target, anchor = match.groups()
        if not target or re.match(r"[a-z]+:", target):
            return match.group()
        goal = _normal(home / target)
        found = ELSEWHERE.get(goal, goal.removeprefix("docs/"))
        if files.get_file_from_path(found) is None:
            return text
        up = "../" * page.file.src_uri.count("/")
        return f"{sign}[{text}]({up}{found}{anchor or ''})"

    here = "" if home.name == "docs" else "docs/"  # pictures in HTML, for light and dark pages
    markdown = re.sub(rf'(src|srcset)="{here}(pictures/)', r'\1="\2', markdown)
    return LINK.sub(led, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Marks the flags within a line of text, so that none is cut after its dashes."""
    return INLINE.sub(lambda code: FLAG.sub(r'<span class="flag">\g<0></span>', code[0]), html)


def on_post_build(config: MkDocsConfig) -> None:
    """Takes the one script that Material would fetch from elsewhere from the site itself."""
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text("utf-8")
        page.write_text(text.replace(SHIM, f"{up}worker.js"), "utf-8")


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def packages() -> list[str]:
    """The packages in the order of their imports, the first ones need none of the others."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    section = text.partition("## Thirteen packages")[2].partition("##")[0]
    return re.findall(r"^    (\w+) ", section, re.MULTILINE)


def package(name: str) -> str:
    """A page with every public class and function of a package."""
    return f"# unspoken.{name}\n\n::: unspoken.{name}\n    options:\n      heading_level: 2\n"


def commands() -> str:
    """Every verb with its flags, as `unspoken VERB --help` has them."""
    text = application(list(VERBS)).generate_docs(output_format="markdown")
    return text.replace("# unspoken\n", "# Commands\n", 1)


def recipe_keys() -> str:
    """Every key of a recipe: type, default, description."""
    lines = [
        "# Recipe keys",
        "",
        "A recipe is a YAML file; every key can also be given on the command line, as in",
        "`unspoken run quickstart train.learning_rate=1e-4`. Keys that are not known are refused,",
        "with the one that was probably meant.",
        "",
    ]
    for section, model in sections():
        lines += [f"## {section or 'The recipe itself'}", ""]
        lines += [f"{_first_line(model)}", ""] if model.__doc__ else []
        lines += ["| key | type | default | what it is |", "|---|---|---|---|"]
        for key, field in model.model_fields.items():
            if section_of(field.annotation) and not field.description:
                continue
            cells = (f"`{key}`", _kind(field.annotation), _default(field), field.description or "")
            lines.append("| " + " | ".join(map(_in_table, cells)) + " |")
        lines.append("")
    return "\n".join(lines)


def sections(model: type[BaseModel] = Recipe, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every section of a recipe by its name, such as teacher.train, and the type behind it."""
    yield name, model
    for key, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None and inner is not model:
            yield from sections(inner, f"{name}.{key}" if name else key)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _in_table(text: str) -> str:
    """Text as it stands in a cell: no new column, no element of HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")


#: Plain types in words of YAML.
_KINDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    dict: "mapping",
    type(None): "empty",
}


def _kind(kind: Any) -> str:
    """A type in words of YAML."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments)
    if origin in (list, tuple):
        return "list of " + _kind(arguments[0])
    plain = arguments[0] if origin is typing.Annotated else origin or kind
    if plain is not kind and plain not in _KINDS:
        return _kind(plain)
    return _KINDS.get(plain, getattr(plain, "__name__", "").lower())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    if value is None or value in ([], ""):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
