"""`python -m camloc` and the program `camloc` are the command line."""

import signal

# An interrupt while modules are imported ends the process, without a traceback of Python's own start;
# `camloc.cli.main.main` reports later ones in a sentence.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from camloc.cli.main import main

if __name__ == "__main__":
    main()
