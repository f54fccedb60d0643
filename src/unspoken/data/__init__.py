"""Questions and examples: read, made and checked; text in, `Example` out."""
