"""A recipe as SLURM jobs: readable scripts that call the verbs, submitted and asked about."""
