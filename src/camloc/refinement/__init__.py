"""What works on a network's output: other ways from points to a pose."""
