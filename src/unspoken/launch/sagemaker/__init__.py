"""A recipe as a SageMaker training job: packed, priced, submitted, watched, fetched.

Nothing but its verb and `unspoken.setup_sagemaker_training` would miss this folder.
"""
