"""`unspoken check`: what can be known about a recipe before time and money are spent on it.

Data is read or, for a task, sampled; models are built without memory; questions, tokens, steps,
floating-point operations, memory, disk and money are counted. What cannot be known here, such as
a hub model without a network, is said and not guessed.

`data` says what is read, `teacher` what it is asked, `student` what is trained and what that takes,
`machine` what has to be installed; `recipe` puts that together, each line as a `Finding` of some
kind. `offline` is for launchers of jobs that have no network, and needs no torch.
"""
