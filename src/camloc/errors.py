"""The exceptions of camloc.

All derive from `CamlocError`, so that a caller can catch them together. Each message is one sentence that
says what is wrong, where, and what to do next; the command line prints it and exits with status 1, or 2 for a
`UsageError`.
"""


def one_line(problem: BaseException) -> str:
    """The message of an exception without line breaks, or its type where it has none."""
    return " ".join(str(problem).split()) or type(problem).__name__


class CamlocError(Exception):
    """The base class of all exceptions of camloc."""


class DatasetError(CamlocError):
    """A data set, a pose file or a list of frames is missing, damaged or contradictory."""


class ImageError(CamlocError):
    """An image file is missing, damaged, of a refused kind, or too large to decode."""


class CheckpointError(CamlocError):
    """A run or a checkpoint is missing, incomplete, damaged or of another version."""


class RecipeError(CamlocError):
    """A setting does not exist, contradicts another one, or matches nothing."""


class UsageError(RecipeError):
    """A command whose options do not fit each other; the command line ends with status 2."""


class ReaderOptionError(DatasetError, UsageError):
    """A layout, an option of its reader or the option's value that does not exist."""


class MissingExtraError(CamlocError):
    """An optional dependency or a weight file that is necessary for a command is missing."""
