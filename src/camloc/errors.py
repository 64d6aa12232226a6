"""Every error that camloc raises on purpose.

One root, so that a caller can catch them all. Each message is one sentence that says what is wrong,
where, and what to do; the command line prints it and exits with status 1, or 2 for a `UsageError`.
"""


class CamlocError(Exception):
    """The root of camloc's own errors."""


class DatasetError(CamlocError):
    """A data set, a pose file or a list of frames that cannot be used as it is."""


class ImageError(CamlocError):
    """A file that is missing, is not an image, is damaged, or is too large to decode."""


class CheckpointError(CamlocError):
    """A run or a checkpoint that is missing, incomplete or of another version."""


class RecipeError(CamlocError):
    """A setting that does not exist, does not fit the others, or matches nothing."""


class UsageError(RecipeError):
    """A command whose options do not fit each other; the command line ends with status 2."""


class MissingExtraError(CamlocError):
    """An optional dependency or a weight file that a command needs and that is not there."""
