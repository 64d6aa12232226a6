"""`python -m camloc` is the command line."""

from camloc.apps.cli import main

if __name__ == "__main__":
    main()
