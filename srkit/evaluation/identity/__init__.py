"""Does a face stay the same person's? Distances as in the paper's Table II, and pairs."""
