"""model.py - the starter model: a Qwen3 text encoder and an S3-DiT, evaluated a batch at a time.

Weights are kept fused (q, k, v of a layer in one matrix, and so on) and are read from and written
to a folder in diffusers' layout.  The arithmetic is that of transformers' Qwen3Model and diffusers'
ZImageTransformer2DModel; compare.py measures it.
"""

import json
import math
import os
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import kernels as K
import vae

WRAP = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
DIM, LAYERS, HEADS, CHANNELS = 192, 9, 3, 16
AXES, LENGTHS, THETA = (16, 24, 24), (1024, 256, 256), 256.0
VOCABULARY, TEXT_LAYERS, TEXT_USED, KV_HEADS = 1280, 3, 2, 2
FFN, TEXT_FFN = int(DIM / 3 * 8), 384
BLOCKS = ["noise_refiner.0"] + ["layers.%d" % i for i in range(LAYERS)]

TRANSFORMER_CONFIG = {
    "_class_name": "ZImageTransformer2DModel",
    "all_f_patch_size": [1],
    "all_patch_size": [2],
    "axes_dims": list(AXES),
    "axes_lens": list(LENGTHS),
    "cap_feat_dim": DIM,
    "dim": DIM,
    "in_channels": CHANNELS,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "n_refiner_layers": 1,
    "norm_eps": 1e-05,
    "qk_norm": True,
    "rope_theta": THETA,
    "t_scale": 1000.0,
}
TEXT_CONFIG = {
    "architectures": ["Qwen3Model"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": VOCABULARY - 3,
    "dtype": "bfloat16",
    "eos_token_id": VOCABULARY - 1,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": DIM,
    "initializer_range": 0.02,
    "intermediate_size": TEXT_FFN,
    "layer_types": ["full_attention"] * TEXT_LAYERS,
    "max_position_embeddings": 2048,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 4,
    "num_hidden_layers": TEXT_LAYERS,
    "num_key_value_heads": KV_HEADS,
    "pad_token_id": None,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}
SCHEDULER_CONFIG = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": False,
}
INDEX = {
    "_class_name": "ZImagePipeline",
    "_diffusers_version": "0.36.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
EMBED, FINAL = "all_x_embedder.2-1.", "all_final_layer.2-1."


def layout():
    """[(fused name, [source tensors, joined along their first axis])], matrices of blocks first and
    by shape, so that the optimiser can take each kind of matrix as one stack."""
    blocks = BLOCKS + ["context_refiner.0"]
    text = ["text.layers.%d" % i for i in range(TEXT_USED)]
    out = [(b + ".qkv", [b + ".attention.to_%s.weight" % k for k in "qkv"]) for b in blocks]
    out += [(b + ".out", [b + ".attention.to_out.0.weight"]) for b in blocks]
    out += [(b + ".w13", [b + ".feed_forward.w%d.weight" % k for k in (1, 3)]) for b in blocks]
    out += [(t + ".qkv", [t + ".self_attn.%s_proj.weight" % k for k in "qkv"]) for t in text]
    out += [(b + ".w2", [b + ".feed_forward.w2.weight"]) for b in blocks]
    out += [(t + ".out", [t + ".self_attn.o_proj.weight"]) for t in text]
    out += [(t + ".w13", [t + ".mlp.%s_proj.weight" % k for k in ("gate", "up")]) for t in text]
    out += [(t + ".w2", [t + ".mlp.down_proj.weight"]) for t in text]
    for b in blocks:
        out.append((b + ".qk_norm", [b + ".attention.norm_%s.weight" % k for k in "qk"]))
        for k, name in (
            ("n1", "attention_norm1"),
            ("n2", "attention_norm2"),
            ("f1", "ffn_norm1"),
            ("f2", "ffn_norm2"),
        ):
            out.append(("%s.%s" % (b, k), ["%s.%s.weight" % (b, name)]))
    for t in text:
        out.append((t + ".qk_norm", [t + ".self_attn.%s_norm.weight" % k for k in "qk"]))
        out.append((t + ".n1", [t + ".input_layernorm.weight"]))
        out.append((t + ".f1", [t + ".post_attention_layernorm.weight"]))
    for k in ("weight", "bias"):
        out.append(("modulation." + k, [b + ".adaLN_modulation.0." + k for b in BLOCKS]))
    out += [
        (n, [n])
        for n in (
            "t_embedder.mlp.0.weight",
            "t_embedder.mlp.0.bias",
            "t_embedder.mlp.2.weight",
            "t_embedder.mlp.2.bias",
            "cap_embedder.0.weight",
            "cap_embedder.1.weight",
            "cap_embedder.1.bias",
            "cap_pad_token",
            "x_pad_token",
            EMBED + "weight",
            EMBED + "bias",
            FINAL + "linear.weight",
            FINAL + "linear.bias",
            FINAL + "adaLN_modulation.1.weight",
            FINAL + "adaLN_modulation.1.bias",
            "text.embed_tokens.weight",
        )
    ]
    return out


def source_shapes():
    """{name on disk: shape}; the text encoder's names begin with "text."."""
    D, out = DIM, {}
    for b in BLOCKS + ["context_refiner.0"]:
        for k in ("to_q", "to_k", "to_v", "to_out.0"):
            out["%s.attention.%s.weight" % (b, k)] = (D, D)
        for k in "qk":
            out["%s.attention.norm_%s.weight" % (b, k)] = (64,)
        for k, s in (("w1", (FFN, D)), ("w2", (D, FFN)), ("w3", (FFN, D))):
            out["%s.feed_forward.%s.weight" % (b, k)] = s
        for k in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"):
            out["%s.%s.weight" % (b, k)] = (D,)
        if b in BLOCKS:
            out[b + ".adaLN_modulation.0.weight"] = (4 * D, D)
            out[b + ".adaLN_modulation.0.bias"] = (4 * D,)
    for i in range(TEXT_LAYERS):
        t = "text.layers.%d." % i
        for k, s in (
            ("self_attn.q_proj", (256, D)),
            ("self_attn.k_proj", (128, D)),
            ("self_attn.v_proj", (128, D)),
            ("self_attn.o_proj", (D, 256)),
            ("self_attn.q_norm", (64,)),
            ("self_attn.k_norm", (64,)),
            ("mlp.gate_proj", (TEXT_FFN, D)),
            ("mlp.up_proj", (TEXT_FFN, D)),
            ("mlp.down_proj", (D, TEXT_FFN)),
            ("input_layernorm", (D,)),
            ("post_attention_layernorm", (D,)),
        ):
            out[t + k + ".weight"] = s
    out.update(
        {
            "text.embed_tokens.weight": (VOCABULARY, D),
            "text.norm.weight": (D,),
            "t_embedder.mlp.0.weight": (1024, 256),
            "t_embedder.mlp.0.bias": (1024,),
            "t_embedder.mlp.2.weight": (D, 1024),
            "t_embedder.mlp.2.bias": (D,),
            "cap_embedder.0.weight": (D,),
            "cap_embedder.1.weight": (D, D),
            "cap_embedder.1.bias": (D,),
            "cap_pad_token": (1, D),
            "x_pad_token": (1, D),
            EMBED + "weight": (D, 4 * CHANNELS),
            EMBED + "bias": (D,),
            FINAL + "linear.weight": (4 * CHANNELS, D),
            FINAL + "linear.bias": (4 * CHANNELS,),
            FINAL + "adaLN_modulation.1.weight": (D, D),
            FINAL + "adaLN_modulation.1.bias": (D,),
        }
    )
    return out


def initial():
    """Random weights: quiet modulation, gates a little open, an output of zero."""
    out = {}
    for name, shape in source_shapes().items():
        if name.endswith("adaLN_modulation.0.bias"):
            out[name] = torch.tensor([0, 0.25, 0, 0.25]).repeat_interleave(DIM)
        elif name == "text.embed_tokens.weight":
            out[name] = torch.randn(shape) * 0.5
        elif name.endswith("pad_token"):
            out[name] = torch.randn(shape) * 0.02
        elif len(shape) == 1:
            out[name] = torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
        elif "adaLN" in name or name.startswith(FINAL):
            out[name] = torch.zeros(shape)
        else:
            out[name] = torch.randn(shape) * 0.8 / math.sqrt(shape[1])
    return out


def read(folder):
    """The transformer's and text encoder's tensors of a folder, by their names on disk."""
    out = load_file(folder + "/transformer/diffusion_pytorch_model.safetensors")
    text = load_file(folder + "/text_encoder/model.safetensors")
    out.update({"text." + k: v for k, v in text.items()})
    return out


def fuse(tensors, device="cpu", dtype=torch.float32):
    def join(names):
        t = [tensors[n] for n in names]
        t = torch.stack(t) if t[0].ndim == 1 and len(t) == 2 else torch.cat(t)
        return t.to(device, dtype).contiguous()

    return {name: join(sources) for name, sources in layout()}


def unfuse(weights, tensors):
    """A copy of tensors with the fused weights written back; unused layers stay as they are."""
    out = dict(tensors)
    for name, sources in layout():
        w = weights[name].detach().float().cpu()
        parts = (
            w.unbind(0)
            if name.endswith("qk_norm")
            else w.split([tensors[s].shape[0] for s in sources])
        )
        out.update(zip(sources, parts))
    return out


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def write_json(value, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def write(folder, tensors, vae_tensors, vae_config, tokenizer, preview=None):
    """Writes a complete folder in diffusers' layout, weights in bfloat16."""

    def save(part, name, values, config, metadata={"format": "pt"}):
        write_json(config, "%s/%s/config.json" % (folder, part))
        values = {k: v.to(torch.bfloat16).contiguous() for k, v in values.items()}
        save_file(values, "%s/%s/%s" % (folder, part, name), metadata)

    file = "diffusion_pytorch_model.safetensors"
    save(
        "transformer",
        file,
        {k: v for k, v in tensors.items() if not k.startswith("text.")},
        TRANSFORMER_CONFIG,
    )
    save(
        "text_encoder",
        "model.safetensors",
        {k[5:]: v for k, v in tensors.items() if k.startswith("text.")},
        TEXT_CONFIG,
    )
    save("vae", file, {k: v.cpu() for k, v in vae_tensors.items()}, vae_config)
    write_json(SCHEDULER_CONFIG, folder + "/scheduler/scheduler_config.json")
    write_json(INDEX, folder + "/model_index.json")
    if os.path.abspath(tokenizer) != os.path.abspath(folder + "/tokenizer"):
        shutil.copytree(tokenizer, folder + "/tokenizer", dirs_exist_ok=True)
    if preview:
        write_json(preview, folder + "/preview.json")


def read_vae(folder, device="cpu", dtype=torch.float32):
    config = read_json(folder + "/vae/config.json")
    tensors = load_file(folder + "/vae/diffusion_pytorch_model.safetensors")
    return {k: v.to(device, dtype) for k, v in tensors.items()}, config


# ---- the networks


def linear(w, name, x, bias=False):
    b = w[name + ".bias"].to(x.dtype) if bias else None
    return F.linear(x, w[name + ".weight" if bias else name].to(x.dtype), b)


_tables = {}


def rope_tables(h, w, L, device):
    """cos and sin [tokens, 32] for h x w patches, their padding and L caption tokens."""
    key = (h, w, L, str(device))
    if key not in _tables:
        n, pad = h * w, -(h * w) % 32
        ids = torch.zeros(n + pad + L, 3, dtype=torch.float64)
        ids[:n, 0] = L + 1
        ids[:n, 1] = torch.arange(h).repeat_interleave(w)
        ids[:n, 2] = torch.arange(w).repeat(h)
        ids[n + pad :, 0] = torch.arange(1, L + 1)
        angles = [
            torch.outer(ids[:, i], THETA ** (-torch.arange(0, d, 2, dtype=torch.float64) / d))
            for i, d in enumerate(AXES)
        ]
        angles = torch.cat(angles, 1).float()
        _tables[key] = angles.cos().to(device), angles.sin().to(device)
    return _tables[key]


def attention(q, k, v, causal=False):
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


def plain_block(w, b, x, cos, sin):
    """A context refiner block: no modulation."""
    B, L, _ = x.shape
    q, k, v = linear(w, b + ".qkv", K.rms(x, w[b + ".n1"])).view(B, L, 3, HEADS, 64).unbind(2)
    n = w[b + ".qk_norm"]
    y = attention(K.rotate(K.rms(q, n[0]), cos, sin), K.rotate(K.rms(k, n[1]), cos, sin), v)
    x = x + K.rms(linear(w, b + ".out", y), w[b + ".n2"])
    a = linear(w, b + ".w13", K.rms(x, w[b + ".f1"]))
    return x + K.rms(linear(w, b + ".w2", K.gate(a)), w[b + ".f2"])


def blocks(w, names, x, mods, cos, sin):
    """Modulated blocks; mods holds four [B, D] (scale, gate, scale, gate) for each.  Each norm is
    computed together with the gated sum before it."""
    B, S, _ = x.shape
    a = K.gated_norm(x, s=mods[0], w=w[names[0] + ".n1"])
    for i, b in enumerate(names):
        _, gate1, scale2, gate2 = mods[4 * i : 4 * i + 4]
        qkv = linear(w, b + ".qkv", a).view(B, S, 3, HEADS, 64)
        y = linear(w, b + ".out", attention(*K.rope(qkv, cos, sin, w[b + ".qk_norm"])))
        x, a = K.gated_norm(x, y, gate1, w[b + ".n2"], scale2, w[b + ".f1"])
        y = linear(w, b + ".w2", K.gate(linear(w, b + ".w13", a)))
        if i + 1 < len(names):
            x, a = K.gated_norm(x, y, gate2, w[b + ".f2"], mods[4 * i + 4], w[names[i + 1] + ".n1"])
        else:
            x = K.gated_norm(x, y, gate2, w[b + ".f2"])
    return x


def time_embedding(w, t):
    f = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32, device=t.device) / 128)
    a = 1000 * t[:, None].float() * f
    e = torch.cat([a.cos(), a.sin()], 1)
    return linear(w, "t_embedder.mlp.2", F.silu(linear(w, "t_embedder.mlp.0", e, True)), True)


def velocity(w, x, sigma, features, pad):
    """x [B, 16, H, W], sigma [B], caption features [B, L, 192] from text (), pad [B, L] true where
    the caption has ended.  Returns dx / dsigma."""
    B, C, H, W = x.shape
    h, wide, L = H // 2, W // 2, features.shape[1]
    n, fill, kind = h * wide, -(h * wide) % 32, features.dtype
    cos, sin = rope_tables(h, wide, L, x.device)
    temb = time_embedding(w, 1 - sigma)
    mods = linear(w, "modulation", temb, True).view(B, -1, DIM).unbind(1)
    tokens = x.reshape(B, C, h, 2, wide, 2).permute(0, 2, 4, 3, 5, 1).reshape(B, n, 4 * C).to(kind)
    y = linear(w, EMBED[:-1], tokens, True)
    if fill:
        y = torch.cat([y, w["x_pad_token"].to(kind).expand(B, fill, -1)], 1)
    y = blocks(w, BLOCKS[:1], y, mods[:4], cos[: n + fill], sin[: n + fill])
    c = linear(w, "cap_embedder.1", K.rms(features, w["cap_embedder.0.weight"]), True)
    c = torch.where(pad[..., None], w["cap_pad_token"].to(kind), c)
    c = plain_block(w, "context_refiner.0", c, cos[n + fill :], sin[n + fill :])
    u = blocks(w, BLOCKS[1:], torch.cat([y, c], 1), mods[4:], cos, sin)
    scale = 1 + linear(w, FINAL + "adaLN_modulation.1", F.silu(temb), True)
    u = F.layer_norm(u[:, :n].float(), (DIM,), eps=1e-6) * scale[:, None]
    u = linear(w, FINAL + "linear", u.to(kind), True)
    u = u.view(B, h, wide, 2, 2, C).permute(0, 5, 1, 3, 2, 4).reshape(B, C, H, W)
    return -u.float()


def text(w, ids, dtype):
    """hidden_states[-2] of the ids [B, L]; causal, so what follows a caption does not matter."""
    B, L = ids.shape
    f = 1e6 ** (-torch.arange(0, 64, 2, device=ids.device, dtype=torch.float32) / 64)
    a = torch.arange(L, device=ids.device, dtype=torch.float32)[:, None] * f
    cos, sin = torch.cat([a, a], 1).cos()[:, None], torch.cat([a, a], 1).sin()[:, None]

    def turn(y, n):
        y = K.rms(y, n, 1e-6)
        swapped = torch.cat([-y[..., 32:], y[..., :32]], -1)
        return (y * cos + swapped * sin).to(dtype)

    table = w["text.embed_tokens.weight"].to(dtype)
    rows = ids[..., None] == torch.arange(VOCABULARY, device=ids.device)
    x = rows.to(dtype) @ table  # a product has a product for a gradient, not a scatter
    for i in range(TEXT_USED):
        t = "text.layers.%d." % i
        n = w[t + "qk_norm"]
        q, k, v = (
            linear(w, t + "qkv", K.rms(x, w[t + "n1"], 1e-6)).view(B, L, 8, 64).split([4, 2, 2], 2)
        )
        k, v = turn(k, n[1]).repeat_interleave(2, 2), v.repeat_interleave(2, 2)
        x = x + linear(w, t + "out", attention(turn(q, n[0]), k, v, causal=True))
        x = x + linear(w, t + "w2", K.gate(linear(w, t + "w13", K.rms(x, w[t + "f1"], 1e-6))))
    return x


# ---- sampling


def shifted(u, shift=3.0):
    return shift * u / (1 + (shift - 1) * u)


def encode_prompts(tokenizer, prompts, device):
    """Token ids [n, L] and padding [n, L] of prompts, L a multiple of 32 that fits all."""
    ids = [e.ids for e in tokenizer.encode_batch([WRAP % p for p in prompts])]
    L = (max(map(len, ids)) + 31) // 32 * 32
    out, pad = torch.zeros(len(ids), L, dtype=torch.long), torch.ones(len(ids), L, dtype=torch.bool)
    for i, e in enumerate(ids):
        out[i, : len(e)], pad[i, : len(e)] = torch.tensor(e), False
    return out.to(device), pad.to(device)


@torch.no_grad()
def sample(
    w, tokenizer, prompts, height, width, steps=8, cfg=1.0, seed=0, negative=None, batch=128
):
    """Latents [n, 16, height / 8, width / 8] by Euler steps; prompts of one length class at a time.
    negative: weights for the unconditional branch, where they are others."""
    device, kind = w["x_pad_token"].device, w["x_pad_token"].dtype
    noise = torch.Generator("cpu").manual_seed(seed)
    x = torch.randn(len(prompts), CHANNELS, height // 8, width // 8, generator=noise).to(device)
    lengths = [(len(tokenizer.encode(WRAP % p).ids) + 31) // 32 for p in prompts]
    for length in sorted(set(lengths)):
        chosen = [i for i, n in enumerate(lengths) if n == length]
        for part in (chosen[k : k + batch] for k in range(0, len(chosen), batch)):
            x[part] = _euler(
                w, negative or w, tokenizer, [prompts[i] for i in part], x[part], steps, cfg, kind
            )
    return x


def _euler(w, other, tokenizer, prompts, x, steps, cfg, kind):
    ids, pad = encode_prompts(tokenizer, prompts, x.device)
    features = text(w, ids, kind)
    if cfg != 1:
        ids, blank = encode_prompts(tokenizer, [""] * len(prompts), x.device)
        empty = text(other, ids, kind)
    for i in range(steps):
        s0, s1 = (shifted(torch.tensor(1 - k / steps)).item() for k in (i, i + 1))
        sigma = torch.full((len(x),), s0, device=x.device)
        v = velocity(w, x, sigma, features, pad)
        if cfg != 1:
            u = velocity(other, x, sigma, empty, blank)
            v = u + cfg * (v - u)
        x = x + (s1 - s0) * v
    return x
