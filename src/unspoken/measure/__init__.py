"""Answers: asked for, judged, counted, compared."""
