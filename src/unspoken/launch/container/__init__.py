"""What runs inside the SageMaker container, from its settings to the files that it leaves."""
