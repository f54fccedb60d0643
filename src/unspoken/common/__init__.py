"""What every part needs and nothing of language models: errors, files, locks, signals."""
