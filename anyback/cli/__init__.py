"""The command line: it parses, calls the library, and prints.

Exit codes: 0, all is well; 1, the result fails what was asked of it; 2, something in the request is wrong, or
standard output cannot be written, said in one line; 130, interrupted; 143, terminated.

Examples
--------
>>> try:
...     main(["evaluate", "no-such-network"])
... except SystemExit as end:
...     print(end.code)
2
"""

from anyback.cli._main import main

__all__ = ["main"]
