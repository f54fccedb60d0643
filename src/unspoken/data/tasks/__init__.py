"""Tasks: where questions with worked thoughts come from, one module for each source.

Each writes `train.jsonl`, `valid.jsonl` and `test.jsonl`, which follow from its settings and a
seed; `icot` converts one file of the authors' to JSONL or back.
"""
