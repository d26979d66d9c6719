"""What a model is to a metric: rows, kernels, tiles, neighbours, and the sums of a null."""
