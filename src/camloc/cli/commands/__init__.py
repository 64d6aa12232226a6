"""One command a file. What a command needs is imported when it runs."""
