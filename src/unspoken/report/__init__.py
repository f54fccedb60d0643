"""What a run amounts to: a page for people, a file for programs, a table for the terminal.

It reads a run folder and nothing else, and never imports torch, so a report can be written again
on a laptop: `read` turns the folder into typed values, `show` turns those into words, tables and
plots.
"""

from __future__ import annotations

from unspoken.report.show.diagnosis import print_diagnosis
from unspoken.report.show.levels import print_levels
from unspoken.report.show.page import write_report
from unspoken.report.show.summary import print_metrics, print_summary

__all__ = ["print_diagnosis", "print_levels", "print_metrics", "print_summary", "write_report"]
