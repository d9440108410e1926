"""``python -m anyback`` does what the command ``anyback`` does."""

from anyback.cli import main

main()
