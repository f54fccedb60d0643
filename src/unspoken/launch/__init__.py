"""Recipes started elsewhere: on a SLURM cluster or on SageMaker, unchanged."""
