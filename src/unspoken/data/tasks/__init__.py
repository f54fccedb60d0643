"""Tasks: where questions with worked thoughts come from, one module for each source."""
