"""Typed values -> page, plots and tables."""
