"""The command line: one file a verb; here settings and errors are spelled as flags.

`verbs` lists the verbs, `main` calls one, `options` has the groups of flags that verbs take,
`flags` makes them from a recipe's settings, and `spelling` tells errors in the words of the verb
that ran. Heavy imports stand inside the verbs.
"""
