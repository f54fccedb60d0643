"""Several processes, in one of three ways; the only place that knows ranks."""
