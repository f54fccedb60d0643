"""Where the repository and the real data sets are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
CONFIGS = ROOT / "configs"
DOCS = ROOT / "docs"
#: Real data sets, on machines that have them; tests skip elsewhere.
SHARED_DATA = ROOT.parent / "shared" / "data"
