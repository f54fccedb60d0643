"""Answers: asked for, judged, counted, compared.

`decode` writes them in batches, `answers` says whether two are equal, `predictions` what they
amount to, `stats` and `compare` how sure that is.
"""
