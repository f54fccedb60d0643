"""What a login node or a laptop does without torch works where torch cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.run_folders import make_run

GUARD = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate", "peft"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""
VERB = GUARD + "from unspoken.cli.main import main\nmain(sys.argv[1:])"


def python(code: str, *words: object) -> str:
    """Runs code where torch is refused; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    "module",
    ["unspoken", "unspoken.recipe", "unspoken.recipe.shipped", "unspoken.report",
     "unspoken.launch.slurm", "unspoken.cli.verbs"],
)  # fmt: skip
def test_a_module_is_imported_without_torch(module: str) -> None:
    python(f"{GUARD}\nimport {module}")


@pytest.mark.integration
def test_help_and_recipes_are_shown_without_torch() -> None:
    assert "unspoken run quickstart" in python(VERB, "--help")
    for verb in ("run", "distil", "internalize", "generate", "evaluate", "score", "report"):
        assert f"unspoken {verb}" in python(VERB, verb, "--help")
    assert "quickstart" in python(VERB, "recipes")
    assert "name: quickstart" in python(VERB, "recipes", "quickstart")


@pytest.mark.integration
def test_score_and_compare_need_no_torch(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    records = [{"question": f"{n} + 1", "generated": f"A: {n}", "gold": "2"} for n in (2, 3)]
    answers.write_text("".join(json.dumps(record) + "\n" for record in records))
    judged = tmp_path / "judged.jsonl"
    assert "50" in python(VERB, "score", "--input", answers, "--output", judged)
    assert "questions: 2" in python(VERB, "compare", judged, judged)


@pytest.mark.integration
def test_the_report_of_a_finished_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder)
    assert "internalized" in python(VERB, "report", folder)
    assert (folder / "report.html").is_file()


@pytest.mark.integration
def test_the_jobs_of_a_run(tmp_path: Path) -> None:
    """It was never launched, which is what it says; no library is asked for that."""
    words = ["launch", "slurm", "quickstart", f"output={tmp_path / 'run'}", "--status"]
    done = subprocess.run(
        [sys.executable, "-c", VERB, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "was not launched on SLURM" in done.stderr


@pytest.mark.integration
def test_importing_the_package_imports_the_version_and_nothing_else() -> None:
    code = "import sys, unspoken; print(sorted(n for n in sys.modules if n.startswith('unspoken')))"
    loaded = "['unspoken', 'unspoken.common', 'unspoken.common.version']"
    assert python(code).strip() == loaded
    heavy = "import sys, unspoken; print(any(n in sys.modules for n in ('numpy', 'pydantic')))"
    assert python(heavy).strip() == "False"
