"""A second process that draws a part of the frames of a folder.

python -P -m market_square.worker FOLDER PART PARTS
"""

import os
import sys
from pathlib import Path

from market_square.rendering import draw


def main(folder: str, part: str, parts: str) -> None:
    """Draw a part of the frames of a folder; stop early if the parent process has ended."""
    parent = os.getppid()
    for _ in draw(Path(folder), int(part), int(parts)):
        if os.getppid() != parent:
            return


if __name__ == "__main__":
    main(*sys.argv[1:4])
