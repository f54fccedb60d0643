"""A recipe as a SageMaker training job."""
