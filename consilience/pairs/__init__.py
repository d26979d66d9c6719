"""One number per pair of models: sets of pairs, correlations over them, and how sure they are."""
