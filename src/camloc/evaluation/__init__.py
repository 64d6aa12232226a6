"""Errors of estimates beside those of baselines, written as tables, files and a report.

`camloc.evaluation.report` is imported by name, since it loads matplotlib.
"""

from camloc.evaluation.baselines import BaselineErrors, baseline_errors
from camloc.evaluation.errors import (
    ErrorStatistics,
    EvaluatedSet,
    ScoredSet,
    error_statistics,
    pose_errors,
    score_sets,
)
from camloc.evaluation.results import Results, SetResults, results_of
from camloc.evaluation.table import format_table, results_table

__all__ = [
    "BaselineErrors",
    "ErrorStatistics",
    "EvaluatedSet",
    "Results",
    "ScoredSet",
    "SetResults",
    "baseline_errors",
    "error_statistics",
    "format_table",
    "pose_errors",
    "results_of",
    "results_table",
    "score_sets",
]
