"""A second process that draws a part of the frames of a folder.

python -m market_square.companion FOLDER PART PARTS
"""

import os
import sys
from pathlib import Path

from market_square.rendering import draw


def main(folder: str, part: str, parts: str) -> None:
    """Draw a part of the frames of a folder, and stop early if the process that asked for it is gone."""
    parent = os.getppid()
    for _ in draw(Path(folder), int(part), int(parts)):
        if os.getppid() != parent:
            return


if __name__ == "__main__":
    main(*sys.argv[1:4])
