"""traces -> dataset: keep what a student may learn from, and say why the rest is not kept.

Stands between `traces` and training. Each trace is judged by rules in a fixed order, and the first
that it breaks is its reason; nothing is dropped without one.
`reading` reads traces one by one, `rules` are those that can be set, `jury` judges by all of them,
and `vetting` has the files.
"""

from __future__ import annotations

from unspoken.teach.vet.jury import Reason, Verdict
from unspoken.teach.vet.rules import VetRules
from unspoken.teach.vet.vetting import VetSummary, vet_traces

__all__ = ["Reason", "Verdict", "VetRules", "VetSummary", "vet_traces"]
