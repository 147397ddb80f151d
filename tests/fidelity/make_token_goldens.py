#!/usr/bin/env python3
"""tests/fidelity/make_token_goldens.py - random strings and their ids by Hugging Face's tokenizers.

Writes tests/data/qwen3-random.json and starter-random.json, lists of [text, ids], and checks
qwen3-expected.json, which came with the tokenizer.  Needs the package tokenizers (0.23.3 wrote what
is committed).  Only characters of Unicode 3.2 are drawn: newer ones differ between the tables of
Python, Rust, Oniguruma, GLib and PCRE2.  U+0000 and U+180E are among them on purpose.
"""
import json
import lzma
import random
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
STARTER = ROOT / "resources" / "starter" / "model" / "tokenizer" / "tokenizer.json"
COUNT = 250

POOLS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", "0123456789\u0663\u096a\u2167\u00bd\u00b2",
    "  \t\n\r\u00a0\u3000\u2028\x0b\x0c\x85\u200b\u180e\ufeff\x1c\x1d", "'s't're'vE'M'LL'd\u017f",
    "!?.,;:()[]{}<|>#@&*-_=+~`\"'/\\", "äöüßéèñçøåÆŒ", "一只戴着墨镜的橘猫在沙滩上冲浪，。！「」",
    "привет мирЁё", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "ไทยภาษา", "こんにちはカタカナ",
    "한국어 조합", "\u1100\u1161\u11a8\u1112", "\U0001d49c\U0001d505\U00010348\U00020000", "\0\x01\x7f\x1f",
    "\u0300\u0301\u0302\u0308\u0323\u0327\u0345\u093c\u3099\u309a", "\u01c5\ufb01\ufb02ΣςİıK\u212b",
    "\u0958\u2adc\u0f43\ufb1d\uf900\ufb4c", "\u2603\ufe0f\u200d\u2764\U0001f44d\U0001f3fd\U0001f1e9\U0001f1ea",
]
PHRASES = ["the quick brown fox", "A photo of a cat, 8k", "don't we'LL I'VE", " ", "\n\n", "   \n "]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "<|im_", "end|>"]


def draw_piece(rng):
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(SPECIALS)
    if kind < 0.25:
        return rng.choice(PHRASES)
    if kind < 0.35:
        chars = (chr(rng.randrange(1, 0xD800)) for _ in range(rng.randint(1, 4)))
        return "".join(c for c in chars if unicodedata.ucd_3_2_0.category(c) != "Cn")
    pool = rng.choice(POOLS)
    return "".join(rng.choice(pool) for _ in range(rng.randint(1, 6)))


def draw_text(rng):
    return "".join(draw_piece(rng) for _ in range(rng.randint(1, 7)))


def write_golden(name, tokenizer, seed):
    rng = random.Random(seed)
    texts = [draw_text(rng) for _ in range(COUNT)]
    pairs = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in texts]
    lines = ",\n".join(json.dumps(pair, separators=(",", ":")) for pair in pairs)
    (DATA / name).write_text("[\n" + lines + "\n]\n", encoding="ascii")


def check_expected(tokenizer):
    for case in json.loads((DATA / "qwen3-expected.json").read_text(encoding="utf-8")):
        text = case["text"]
        chat = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        assert tokenizer.encode(text, add_special_tokens=False).ids == case["ids"], text
        assert tokenizer.encode(chat, add_special_tokens=False).ids == case["chat_ids"], text


def main():
    packed = (DATA / "qwen3-tokenizer.json.xz").read_bytes()
    qwen3 = Tokenizer.from_str(lzma.decompress(packed).decode())
    check_expected(qwen3)
    write_golden("qwen3-random.json", qwen3, 1)
    write_golden("starter-random.json", Tokenizer.from_file(str(STARTER)), 2)


if __name__ == "__main__":
    main()
