"""A page to try a run's models on: thinking aloud beside answering at once (`unspoken demo`)."""
