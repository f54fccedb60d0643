"""Short answers, kind by kind: right and wrong ones, one line a case."""
