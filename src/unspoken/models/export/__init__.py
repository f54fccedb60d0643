"""A trained model as a plain folder that needs no unspoken."""
