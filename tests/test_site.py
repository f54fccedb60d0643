"""The site: it builds strictly, nothing is fetched from elsewhere, and everything is described."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers.file_map import PACKAGE
from helpers.paths import ROOT
from unspoken.cli.spelling import flags_of
from unspoken.cli.verbs import VERBS, application, find_verb
from unspoken.recipe.sections import section_of
from unspoken.report.show.palette import DARK

#: Elements of a page that a browser fetches by itself.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link[^>]*stylesheet)[^>]*?(?:src|href)=[\"']?(https?:[^\"' >]+)"
)


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """docs/site/pages.py, which MkDocs loads by its path."""
    pytest.importorskip(
        "mkdocs", reason="the site's tools are not installed: pip install '.[docs]'"
    )
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "site" / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def commands(pages: ModuleType) -> str:
    """The page of commands."""
    return pages.commands()


@pytest.mark.integration
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip(
        "mkdocs", reason="the site's tools are not installed: pip install '.[docs]'"
    )
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    written = list(tmp_path.rglob("*.html"))
    assert len(written) > 20
    for page in written:
        text = page.read_text("utf-8")
        fetched = FETCHED.findall(text)
        assert not fetched, f"{page.name}: {fetched}"
        pictures = re.findall(r'(?:src|srcset)="?([^"\s>]+\.svg)', text)
        assert not [path for path in pictures if not (page.parent / path).is_file()]
    assert "accuracy-dark.svg" in (tmp_path / "index.html").read_text("utf-8")


def test_pictures_for_a_dark_page_stand_on_a_dark_ground() -> None:
    """The browser chooses the picture, so it must choose the ground, not the page's switch."""
    style = (ROOT / "docs" / "site" / "style.css").read_text("utf-8")
    rule = r"@media \(prefers-color-scheme: dark\) \{ [^{]*picture img[^{]*\{ background: (#\w+);"
    assert re.findall(rule, style) == [DARK["card"].lower()]


def test_flags_in_a_line_of_text_are_kept_whole(pages: ModuleType) -> None:
    html = "<p><code>--by</code>, <code>vet --max_tokens 5</code> <code>a--b -- ---</code></p>"
    block = '<pre><code class="x">unspoken --help</code></pre>'
    assert pages.on_page_content(html + block) == (
        '<p><code><span class="flag">--by</span></code>, '
        '<code>vet <span class="flag">--max_tokens</span> 5</code> '
        f"<code>a--b -- ---</code></p>{block}"
    )


def test_every_recipe_key_is_described(pages: ModuleType) -> None:
    missing = [
        f"{section}.{key}".lstrip(".")
        for section, model in pages.sections()
        for key, field in model.model_fields.items()
        if not field.description and not section_of(field.annotation)
    ]
    assert not missing
    text = pages.recipe_keys()
    assert all(f"`{key}`" in text for key in ("learning_rate", "removal", "phases", "base_url"))
    assert "``" not in text and "undefined" not in text


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_flag_is_described_on_the_page_of_commands(verb: str, commands: str) -> None:
    app = application([verb])
    for each in flags_of(find_verb(app, verb)):
        assert any(name in commands for name in each.names), f"{verb} {each.names}"


def test_every_public_function_and_class_has_a_docstring() -> None:
    missing = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and "overload" not in map(ast.unparse, node.decorator_list)
        and not ast.get_docstring(node)
    ]
    assert not missing
