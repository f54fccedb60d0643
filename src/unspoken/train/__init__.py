"""The paper's method: encode, remove, train, save; distilling and baselines are the same loop.

They differ in the schedule alone, which says how much of the thought is gone at each step
(`schedule`); `collate` removes it, `loop` does the step. See arXiv 2405.14838.
"""
