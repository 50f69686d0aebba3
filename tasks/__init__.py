"""The tasks: one a file, its retry, cache and timeout policy around one plain function."""
