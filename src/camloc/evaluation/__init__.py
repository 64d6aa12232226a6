"""How good estimates are, beside what no learning at all would give; written down and drawn.

`figures` and `report` are imported by name, since they load matplotlib.
"""

from camloc.evaluation.baselines import BaselineErrors, baseline_errors
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet, error_statistics, evaluate_set
from camloc.evaluation.results import Results, SetResults, results_of
from camloc.evaluation.table import format_table, results_table

__all__ = [
    "BaselineErrors",
    "ErrorStatistics",
    "EvaluatedSet",
    "Results",
    "SetResults",
    "baseline_errors",
    "error_statistics",
    "evaluate_set",
    "format_table",
    "results_of",
    "results_table",
]
