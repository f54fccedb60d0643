"""A run folder -> typed values; what is not there yet is named, not guessed."""
