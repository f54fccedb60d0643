"""What runs inside the SageMaker container."""
