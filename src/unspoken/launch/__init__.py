"""Recipes started elsewhere: on a SLURM cluster or on SageMaker, unchanged.

Launchers render and submit and run nothing of their own: a job calls `unspoken run` under
torchrun. What can be refused is refused before a queue or an upload costs hours.
"""
