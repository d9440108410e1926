"""The pages that are made when the others are built: from docstrings, reports, the package's folders and notebooks."""
