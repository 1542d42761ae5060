"""Exit codes of the command.

`medseg --help` lists what they mean.
"""

EXIT_DONE, EXIT_OTHER, EXIT_USAGE, EXIT_ALL_REJECTED, EXIT_SOME_REJECTED, EXIT_WORSE = 0, 1, 2, 3, 4, 5
EXIT_WARNED = 6
