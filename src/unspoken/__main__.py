"""`python -m unspoken`, for launchers such as torchrun and accelerate."""

from unspoken.cli.main import main

main()
