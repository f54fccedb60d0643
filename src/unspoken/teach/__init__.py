"""Questions in, vetted solutions out: who is asked, what it wrote, what is kept.

An engine answers (`engines`), its answers are kept one by one (`traces`), and only those that a
student may learn from go on (`vet`). Nothing here trains.
"""
