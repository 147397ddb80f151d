"""train_tokenizer.py - a byte-level BPE of 1280 ids, learned from captions of random scenes.

python train_tokenizer.py START/tokenizer
"""

import random
import sys

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

import captions
import scenes
from model import VOCABULARY, WRAP, write_json

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # how Qwen's tokenizers cut text into words
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content"
    " + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def texts(n):
    rng = random.Random(1)
    for i in range(n):
        text = captions.caption(scenes.attributes(rng), rng)
        yield WRAP % text if i % 20 == 0 else text


def main(folder):
    plain = dict(add_prefix_space=False, use_regex=False)
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(**plain)]
    )
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        texts(80000),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    first = t.get_vocab_size()
    assert first == VOCABULARY - len(SPECIAL), first
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    added = {
        str(first + i): {
            "content": s,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, s in enumerate(SPECIAL)
    }
    write_json(
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "additional_special_tokens": list(SPECIAL[1:]),
            "bos_token": None,
            "chat_template": TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": SPECIAL[2],
            "errors": "replace",
            "model_max_length": 2048,
            "pad_token": SPECIAL[0],
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
        folder + "/tokenizer_config.json",
    )
    t.save(folder + "/tokenizer.json")


if __name__ == "__main__":
    main(sys.argv[1])
