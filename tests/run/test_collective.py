"""Calls that all processes have to make are never made by the main process alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import unspoken.run

ROOT = Path(unspoken.run.__path__[0])
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
OF_FOLDER = {"on_main", "share", "open"}


def called(node: ast.AST) -> Iterator[str]:
    """What is called in a node, such as `run.on_main`; functions within it are left out."""
    if isinstance(node, ast.Call):
        yield ast.unparse(node.func)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield from called(child)


def is_primitive(name: str) -> bool:
    owner, _, last = name.rpartition(".")
    is_folder = owner == "self" or owner.endswith("run")
    return (is_folder and last in OF_FOLDER) or last in (
        "wait_for_everyone",
        "broadcast_object_list",
        "share_run_folder",
    )


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def collective() -> dict[Path, set[str]]:
    """The names of functions in each file, imported ones too, by which all processes meet."""
    found: dict[Path, set[str]] = {path: set() for path in TREES}
    while True:
        before = sum(map(len, found.values()))
        for path, tree in TREES.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and reaches(node, found[path]):
                    found[path].add(node.name)
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
                if isinstance(node, ast.ImportFrom) and module.startswith("unspoken.run."):
                    source = ROOT / module.removeprefix("unspoken.run.").replace(".", "/")
                    theirs = found.get(source.with_suffix(".py"), set())
                    found[path] |= {each.name for each in node.names} & theirs
        if sum(map(len, found.values())) == before:
            return found


def reaches(node: ast.AST, names: set[str]) -> str:
    """The first collective call in a node, or nothing."""
    for name in called(node):
        if is_primitive(name) or name.removeprefix("self.") in names:
            return name
    return ""


def alone(tree: ast.AST) -> Iterator[ast.AST]:
    """What only the main process does: what `on_main` is given, and below `if ...is_main...`."""
    own = {function.name: function for function in functions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".on_main"):
            given = node.args[0]
            yield given.body if isinstance(given, ast.Lambda) else own[ast.unparse(given)]
        elif isinstance(node, ast.If) and "is_main" in (test := ast.unparse(node.test)):
            yield from node.orelse if test.startswith("not ") else node.body
        elif isinstance(node, ast.FunctionDef) and "The main process calls this" in (
            ast.get_docstring(node) or ""
        ):
            yield node


def test_the_main_process_alone_makes_no_call_that_all_must_make() -> None:
    found = collective()
    assert {"train_stage", "evaluate_stage", "run_recipe"} <= set().union(*found.values())
    places = [(path, node) for path, tree in TREES.items() for node in alone(tree)]
    assert len(places) > 30
    wrong = [
        f"{path.name}:{node.lineno}: {name}"  # type: ignore[attr-defined]
        for path, node in places
        if (name := reaches(node, found[path]))
    ]
    assert wrong == []


def test_such_a_call_is_found() -> None:
    tree = ast.parse("if self.process.is_main_process:\n    x = self.run.share()\n")
    assert [reaches(node, set()) for node in alone(tree)] == ["self.run.share"]
    tree = ast.parse("run.on_main(lambda: train_stage(run))")
    assert [reaches(node, {"train_stage"}) for node in alone(tree)] == ["train_stage"]
