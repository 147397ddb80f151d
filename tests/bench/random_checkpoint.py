#!/usr/bin/env python3
"""Writes a full-size Z-Image-Turbo whose parameters are random: a diffusers folder, bfloat16, 20 GB.

    python3 tests/bench/random_checkpoint.py /tmp/ckpt            # on the GPU, half a minute
    python3 tests/bench/random_checkpoint.py --tiny /tmp/ckpt     # 48 wide, on the CPU, to try it

For timing and for comparing with a float32 reference: the shapes and the names are the real ones and
every parameter matters (norm weights are not 1, biases and pad tokens not 0).  Matrices have a spread
of 1 / sqrt (inputs), so that activations keep a sane size through all layers, as trained ones do.
The same seed gives the same numbers, whatever the order in which they are made (on one kind of
device).  Needs torch and nothing else: the configurations are written by hand.
"""

import argparse
import json
import lzma
import math
import mmap
import os
import shutil
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SHARD_BYTES = 5_000_000_000  # what save_pretrained of both libraries took when the real one was made

TRANSFORMER = dict(
    all_f_patch_size=[1], all_patch_size=[2], axes_dims=[32, 48, 48], axes_lens=[1536, 512, 512],
    cap_feat_dim=2560, dim=3840, in_channels=16, n_heads=30, n_kv_heads=30, n_layers=30,
    n_refiner_layers=2, norm_eps=1e-5, qk_norm=True, rope_theta=256.0, t_scale=1000.0,
)
TEXT = dict(
    attention_bias=False, attention_dropout=0.0, bos_token_id=151643, eos_token_id=151645,
    head_dim=128, hidden_act="silu", hidden_size=2560, initializer_range=0.02,
    intermediate_size=9728, max_position_embeddings=40960, max_window_layers=36,
    num_attention_heads=32, num_hidden_layers=36, num_key_value_heads=8, rms_norm_eps=1e-6,
    rope_scaling=None, rope_theta=1000000, sliding_window=None, tie_word_embeddings=True,
    use_cache=True, use_sliding_window=False, vocab_size=151936,
)
VAE = dict(
    act_fn="silu", block_out_channels=[128, 256, 512, 512], force_upcast=True, in_channels=3,
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    latent_channels=16, latents_mean=None, latents_std=None, layers_per_block=2,
    mid_block_add_attention=True, norm_num_groups=32, out_channels=3, sample_size=1024,
    scaling_factor=0.3611, shift_factor=0.1159, use_post_quant_conv=False, use_quant_conv=False,
)
TINY = dict(
    transformer=dict(axes_dims=[4, 6, 6], cap_feat_dim=64, dim=48, n_heads=3, n_kv_heads=3,
                     n_layers=2, n_refiner_layers=1),
    text=dict(head_dim=24, hidden_size=64, intermediate_size=88, num_attention_heads=4,
              num_hidden_layers=3, num_key_value_heads=2),
    vae=dict(block_out_channels=[8, 16, 16, 32], norm_num_groups=4),
)
SCHEDULER = dict(num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=False)
TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
TOKENIZER = dict(
    tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>", bos_token=None,
    pad_token="<|endoftext|>", unk_token=None, model_max_length=131072, padding_side="right",
    clean_up_tokenization_spaces=False, chat_template=TEMPLATE,
)
INDEX = {
    "_class_name": "ZImagePipeline",
    "_diffusers_version": "0.36.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


# ---- Names and shapes ----


def linear(name, out, inner, bias=True):
    yield f"{name}.weight", (out, inner)
    if bias:
        yield f"{name}.bias", (out,)


def transformer_block(name, c, modulated):
    dim, head, wide = c["dim"], c["dim"] // c["n_heads"], int(c["dim"] / 3 * 8)
    yield from ((f"{name}.attention.norm_{x}.weight", (head,)) for x in "qk")
    for x in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from linear(f"{name}.attention.{x}", dim, dim, bias=False)
    yield from linear(f"{name}.feed_forward.w1", wide, dim, bias=False)
    yield from linear(f"{name}.feed_forward.w2", dim, wide, bias=False)
    yield from linear(f"{name}.feed_forward.w3", wide, dim, bias=False)
    for x in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"):
        yield f"{name}.{x}.weight", (dim,)
    if modulated:
        yield from linear(f"{name}.adaLN_modulation.0", 4 * dim, min(dim, 256))


def transformer_tensors(c):
    dim, patch = c["dim"], 4 * c["in_channels"]
    yield "x_pad_token", (1, dim)
    yield "cap_pad_token", (1, dim)
    yield from linear("all_x_embedder.2-1", dim, patch)
    yield from linear("all_final_layer.2-1.linear", patch, dim)
    yield from linear("all_final_layer.2-1.adaLN_modulation.1", dim, min(dim, 256))
    for kind, n in (("noise", c["n_refiner_layers"]), ("context", c["n_refiner_layers"])):
        for i in range(n):
            yield from transformer_block(f"{kind}_refiner.{i}", c, kind == "noise")
    yield from linear("t_embedder.mlp.0", 1024, 256)
    yield from linear("t_embedder.mlp.2", min(dim, 256), 1024)
    yield "cap_embedder.0.weight", (c["cap_feat_dim"],)
    yield from linear("cap_embedder.1", dim, c["cap_feat_dim"])
    for i in range(c["n_layers"]):
        yield from transformer_block(f"layers.{i}", c, True)


def text_tensors(c):
    dim, head, wide = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (c["vocab_size"], dim)
    for i in range(c["num_hidden_layers"]):
        name = f"model.layers.{i}"
        for x, out in (("q", q), ("k", kv), ("v", kv)):
            yield from linear(f"{name}.self_attn.{x}_proj", out, dim, bias=False)
        yield from linear(f"{name}.self_attn.o_proj", dim, q, bias=False)
        yield from ((f"{name}.self_attn.{x}_norm.weight", (head,)) for x in "qk")
        yield from linear(f"{name}.mlp.gate_proj", wide, dim, bias=False)
        yield from linear(f"{name}.mlp.up_proj", wide, dim, bias=False)
        yield from linear(f"{name}.mlp.down_proj", dim, wide, bias=False)
        yield f"{name}.input_layernorm.weight", (dim,)
        yield f"{name}.post_attention_layernorm.weight", (dim,)
    yield "model.norm.weight", (dim,)


def pair(name, width):
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def conv(name, out, inner, side):
    yield f"{name}.weight", (out, inner, side, side)
    yield f"{name}.bias", (out,)


def resnet(name, inner, out):
    yield from pair(f"{name}.norm1", inner)
    yield from conv(f"{name}.conv1", out, inner, 3)
    yield from pair(f"{name}.norm2", out)
    yield from conv(f"{name}.conv2", out, out, 3)
    if inner != out:
        yield from conv(f"{name}.conv_shortcut", out, inner, 1)


def vae_middle(name, width):
    yield from resnet(f"{name}.resnets.0", width, width)
    yield from pair(f"{name}.attentions.0.group_norm", width)
    for x in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from linear(f"{name}.attentions.0.{x}", width, width)
    yield from resnet(f"{name}.resnets.1", width, width)


def vae_tensors(c):
    widths, layers = c["block_out_channels"], c["layers_per_block"]
    sides = (
        ("encoder", "down_blocks", "downsamplers", widths, layers, c["in_channels"], 2 * c["latent_channels"]),
        ("decoder", "up_blocks", "upsamplers", widths[::-1], layers + 1, c["latent_channels"], c["out_channels"]),
    )
    for side, blocks, sampler, order, n, inner, out in sides:
        yield from conv(f"{side}.conv_in", order[0], inner, 3)
        before = order[0]
        for i, width in enumerate(order):
            for j in range(n):
                yield from resnet(f"{side}.{blocks}.{i}.resnets.{j}", before, width)
                before = width
            if i + 1 < len(order):
                yield from conv(f"{side}.{blocks}.{i}.{sampler}.0.conv", width, width, 3)
        yield from vae_middle(f"{side}.mid_block", widths[-1])
        yield from pair(f"{side}.conv_norm_out", order[-1])
        yield from conv(f"{side}.conv_out", out, order[-1], 3)


# ---- Numbers ----


def scale_of(name, shape):
    """Mean and spread of a parameter."""
    if name.endswith("_pad_token") or "embed_tokens" in name:
        return 0.0, 1.0 if "pad" in name else 0.03
    if len(shape) == 1:
        return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.1)
    spread = 1 / math.sqrt(math.prod(shape[1:]))
    # Keeps most of a picture off the ends of its range, where no error could be seen.
    return 0.0, spread * 0.8 if "conv_out" in name else spread


def make_tensor(name, shape, seed, device):
    mean, spread = scale_of(name, shape)
    generator = torch.Generator(device).manual_seed(seed << 32 | zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator, device=device)
    return values.mul_(spread).add_(mean).to(torch.bfloat16)


# ---- Files ----


def plan_shards(tensors, limit):
    """Lists of (name, shape), each at most limit bytes unless one tensor alone is larger."""
    shards, used = [[]], 0
    for name, shape in tensors:
        size = 2 * math.prod(shape)
        if shards[-1] and used + size > limit:
            shards.append([])
            used = 0
        shards[-1].append((name, shape))
        used += size
    return shards


def open_shard(path, tensors):
    """Writes the header, makes the file as long as it will be; returns its memory and the places."""
    header, places, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape in tensors:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        places.append((name, shape, at))
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "w+b") as file:
        file.truncate(8 + len(text) + at)
        memory = mmap.mmap(file.fileno(), 0)
    memory[: 8 + len(text)] = struct.pack("<Q", len(text)) + text
    return memory, [(name, shape, 8 + len(text) + at) for name, shape, at in places]


def write_weights(folder, stem, tensors, args, pool):
    """Starts the work; the futures are done when everything is in the files."""
    folder.mkdir(parents=True)
    shards = plan_shards(tensors, args.shard_bytes)
    names = [f"{stem}-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    if len(shards) == 1:
        names = [f"{stem}.safetensors"]
    jobs = []
    for name, shard in zip(names, shards):
        memory, places = open_shard(folder / name, shard)
        jobs += [pool.submit(fill, memory, *place, args) for place in places]
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(2 * math.prod(s) for shard in shards for _, s in shard)},
            "weight_map": {n: name for name, shard in zip(names, shards) for n, _ in shard},
        }
        write_json(folder / f"{stem}.safetensors.index.json", index)
    return jobs


def fill(memory, name, shape, at, args):
    values = make_tensor(name, shape, args.seed, args.device).flatten().view(torch.uint8)
    torch.frombuffer(memory, dtype=torch.uint8, count=len(values), offset=at).copy_(values)
    return len(values)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_rest(folder, text, transformer, vae):
    version = {"_diffusers_version": INDEX["_diffusers_version"]}
    write_json(folder / "transformer/config.json",
               {"_class_name": "ZImageTransformer2DModel"} | version | transformer)
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderKL"} | version | vae)
    write_json(folder / "text_encoder/config.json",
               {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
                "torch_dtype": "bfloat16"} | text)
    write_json(folder / "scheduler/scheduler_config.json",
               {"_class_name": "FlowMatchEulerDiscreteScheduler"} | version | SCHEDULER)
    write_json(folder / "tokenizer/tokenizer_config.json", TOKENIZER)
    packed = (ROOT / "tests/data/qwen3-tokenizer.json.xz").read_bytes()
    (folder / "tokenizer/tokenizer.json").write_bytes(lzma.decompress(packed))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="is emptied first, when a checkpoint is in it")
    parser.add_argument("--tiny", action="store_true", help="the same classes, 48 wide")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=min(12, os.cpu_count()))
    parser.add_argument("--shard-bytes", type=int, default=SHARD_BYTES)
    args = parser.parse_args()

    own = TINY if args.tiny else {}
    transformer = TRANSFORMER | own.get("transformer", {})
    text, vae = TEXT | own.get("text", {}), VAE | own.get("vae", {})
    if (args.folder / "transformer" / "config.json").exists():
        shutil.rmtree(args.folder)
    args.folder.mkdir(parents=True, exist_ok=True)
    parts = (
        ("transformer", "diffusion_pytorch_model", list(transformer_tensors(transformer))),
        ("text_encoder", "model", list(text_tensors(text))),
        ("vae", "diffusion_pytorch_model", list(vae_tensors(vae))),
    )
    needed = sum(2 * math.prod(shape) for _, _, tensors in parts for _, shape in tensors)
    free = shutil.disk_usage(args.folder).free
    if free < needed + (64 << 20):
        sys.exit(f"{args.folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")

    begin = time.perf_counter()
    with ThreadPoolExecutor(args.threads) as pool:
        jobs = [job for name, stem, tensors in parts
                for job in write_weights(args.folder / name, stem, tensors, args, pool)]
        write_rest(args.folder, text, transformer, vae)
        written = sum(job.result() for job in jobs)
    write_json(args.folder / "model_index.json", INDEX)  # last: a folder that has it is whole
    seconds = time.perf_counter() - begin
    print(f"{args.folder}: {len(jobs)} tensors, {written / 1e9:.2f} GB, seed {args.seed}, "
          f"{args.device}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
