"""What is to be done: a recipe is one experiment, typed, read from YAML and the command line.

Every stage takes its settings from here, and the plan says which models they amount to. Nothing
of it imports torch, so `unspoken --help` and a login node answer at once.

Precedence: defaults < recipe file < `section.key=value` overrides. Unknown keys are refused, with
the nearest known key suggested: an option that is silently ignored costs a night.
"""

from unspoken.recipe.load import dump_recipe, load_recipe, load_to_run, load_values, recipe_from
from unspoken.recipe.merge import parse_override
from unspoken.recipe.sections import (
    Baselines,
    Data,
    Evaluate,
    Lora,
    Model,
    Schedule,
    Section,
    Train,
)
from unspoken.recipe.teacher import Costs, Teacher, Vet
from unspoken.recipe.whole import Recipe

__all__ = [
    "Baselines",
    "Costs",
    "Data",
    "Evaluate",
    "Lora",
    "Model",
    "Recipe",
    "Schedule",
    "Section",
    "Teacher",
    "Train",
    "Vet",
    "dump_recipe",
    "load_recipe",
    "load_to_run",
    "load_values",
    "parse_override",
    "recipe_from",
]
