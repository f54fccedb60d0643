"""A small character-level tokenizer for models from scratch.

It is a plain Hugging Face tokenizer: what it saves, `AutoTokenizer.from_pretrained` loads without
unspoken installed.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

#: The symbols of the default alphabet: what the built-in tasks write, and the rest of ASCII.
PRINTABLE = string.digits + string.ascii_letters + string.punctuation + " \n" + "×÷"

#: Its name in recipes.
CHARACTERS = "characters"


def is_character_tokenizer(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether this is the tokenizer below and was not loaded from a folder."""
    return getattr(tokenizer, "name_or_path", None) == CHARACTERS


def character_tokenizer(alphabet: str | None = None) -> PreTrainedTokenizerFast:
    """One token per character of `alphabet`; other characters become `<unk>`.

    Ids: <pad> 0, <eos> 1, <unk> 2, then the characters in the order given.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<eos>", "<unk>"]
    symbols = list(dict.fromkeys(alphabet or PRINTABLE))
    vocabulary = {token: number for number, token in enumerate([*special, *symbols])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        name_or_path=CHARACTERS,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
