"""A run folder -> typed values."""
