"""The page that shows what one run added to a dataset's graph: collected, cut, laid out, drawn, kept."""
