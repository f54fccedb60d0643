"""Several processes, in one of three ways; others ask here who writes, and how many there are.

`world` says what a launcher started, without torch; `processes` is what a training loop needs of
the others, the same under DDP, FSDP2 and ZeRO.
"""
