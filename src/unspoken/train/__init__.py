"""The paper's method: encode, remove, train, save; distilling and baselines are the same loop."""
