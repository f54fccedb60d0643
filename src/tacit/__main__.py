"""`python -m tacit`, for launchers such as torchrun and accelerate."""

from tacit.cli import main

main()
