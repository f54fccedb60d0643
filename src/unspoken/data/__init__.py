"""Questions and examples: read, made and checked; text in, `Example` out.

A question may come from a task of unspoken's own (`tasks`), a file of any common kind
(`questions`) or the hub. What stands in two splits is found here, also in other words.
"""
