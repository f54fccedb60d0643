"""The command line: one file a verb, and the only place that knows flags.

A verb turns flags into settings, calls the library and prints; errors get their flags' names in
`main`. Heavy imports stand inside the verbs.
"""
