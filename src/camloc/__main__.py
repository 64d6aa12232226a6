"""`python -m camloc` is the command line."""

from camloc.cli.main import main

if __name__ == "__main__":
    main()
