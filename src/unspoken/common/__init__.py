"""What every part needs and nothing of language models: errors, files, locks, signals.

Everything may import it, and it imports nothing of unspoken's. `errors` says what a message to a
user holds; `files` how a file comes to be there whole or not at all.
"""
