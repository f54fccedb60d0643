"""A teacher's solutions in a file: written, resumed, merged, shared out."""
