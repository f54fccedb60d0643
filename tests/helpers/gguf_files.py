"""Small GGUF files: a Llama with a BPE tokenizer, as llama.cpp's converter would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<start>system\nYou add.<end>\n{% endif %}<start>{{ message['role'] }}\n"
    "{{ message['content'] }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant\n{% endif %}"
)
#: In the order of their ids; the end token is not the first, as readers may take it to be.
SPECIAL = ("<unknown>", "<start>", "<end>")
_TEXT = (
    "What is 12 + 30? What is 7 + 15? Tom has 3 apples and buys 4 more. How many apples has he? "
    "Step 1: 3 + 4 = 7\nFinal Answer: 7\n### Question:\n### Answer:\n#### 42 system user assistant"
)
#: Tensors of a layer in transformers -> in the file.
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_llama(tied: bool = True, vocabulary: int = 300) -> LlamaForCausalLM:
    """Random weights, far enough from 0 for a difference to show."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def bpe_tokenizer(vocabulary: int = 300, *, cuts_words: bool = True, text: str = _TEXT) -> Any:
    """A Rust tokenizer whose merges reach across words' ends, `?` and line ends.

    Args:
        vocabulary: tokens at the most.
        cuts_words: text is cut as GPT-2 cuts it, before it is merged; else anything may merge.
        text: that it learns its merges from.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cuts_words)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text] * 3, trainer)
    return tokenizer


def write_gguf(
    path: Path,
    model: LlamaForCausalLM | None = None,
    *,
    architecture: str = "llama",
    without: str = "",
    quantized: bool = False,
) -> Path:
    """Writes a model and the tokenizer above.

    Args:
        path: NAME.gguf.
        model: by default a tiny one with tied embeddings.
        architecture: that the file names.
        without: a tensor that is left out, by its name in the file.
        quantized: matrices in 8 bits.
    """
    import gguf

    model = model or tiny_llama()
    config, writer = model.config, gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, bpe_tokenizer(config.vocab_size))
    for name, tensor in _tensors(model).items():
        if name == without:
            continue
        values = tensor.float().numpy()
        if quantized and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, tokenizer: Any) -> None:
    values = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(values["vocab"], key=values["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_add_space_prefix(False)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in values["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    weights, config = model.state_dict(), model.config
    found = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    if not config.tie_word_embeddings:
        found["output.weight"] = weights["lm_head.weight"]
    for layer in range(config.num_hidden_layers):
        for ours, theirs in _LAYER.items():
            tensor = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                heads = tensor.shape[0] // config.head_dim
                tensor = _interleaved(tensor, heads)
            found[f"blk.{layer}.{theirs}.weight"] = tensor
    return found


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp rotates neighbours, transformers the two halves of a head."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape).contiguous()
