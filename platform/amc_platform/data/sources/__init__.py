"""One module (or small package) a dataset: raw material in, rows of a grounding table out."""
