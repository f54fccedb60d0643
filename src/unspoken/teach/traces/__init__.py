"""A teacher's solutions in a file: written, resumed, merged, shared out.

What is written stays written, also after kill -9, and a file is continued only with equal
settings.
"""
