"""A trained model as a plain folder that needs no unspoken.

The adapter is merged, the prompt written as a chat template, and a README says what the model is.
"""
