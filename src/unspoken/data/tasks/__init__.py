"""Tasks: where questions with worked thoughts come from, one module for each source.

Each writes `train.jsonl`, `valid.jsonl` and `test.jsonl`, and follows from its settings and a
seed.
"""
