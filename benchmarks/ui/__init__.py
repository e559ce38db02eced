"""Graph and log in a browser, beside the libraries that one would otherwise have taken: ``python -m benchmarks.ui``."""
