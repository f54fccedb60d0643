"""Models and tokenizers: fetched, loaded, asked in the form they know, exported.

A model folder is a plain Hugging Face one with `unspoken.json` beside it, which says how the
model is asked. `template` alone renders what a student reads and writes.
"""

from unspoken.common.libraries import (
    import_bitsandbytes_without_a_compiler,
    silence_optional_kernels,
)

# before peft or transformers import bitsandbytes
silence_optional_kernels()
import_bitsandbytes_without_a_compiler()
