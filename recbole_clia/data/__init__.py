"""Which pairs are trained: the log, its windows, and batches of them."""
