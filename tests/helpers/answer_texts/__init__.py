"""Texts and gold answers by kind: RIGHT ones say the same, WRONG ones something else."""
