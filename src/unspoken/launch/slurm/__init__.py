"""A recipe as SLURM jobs."""
