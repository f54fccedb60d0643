"""Questions in, vetted solutions out: who is asked, what it wrote, what is kept."""
