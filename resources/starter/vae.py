"""vae.py - the AutoencoderKL of the starter model, as functions of its weights (diffusers' names).

Pictures are [n, 3, H, W] in -1..1, latents [n, 16, H / 8, W / 8] as the autoencoder makes them;
to_model and from_model convert to and from the scale that the transformer sees.
"""

import math

import torch
import torch.nn.functional as F

WIDTHS, GROUPS, LATENT = (32, 64, 64, 64), 16, 16
CONFIG = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": list(WIDTHS),
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "force_upcast": True,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": LATENT,
    "layers_per_block": 2,
    "mid_block_add_attention": True,
    "norm_num_groups": GROUPS,
    "sample_size": 256,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}


def conv(w, name, x, **options):
    return F.conv2d(x, w[name + ".weight"].to(x.dtype), w[name + ".bias"].to(x.dtype), **options)


def norm(w, name, x):
    return F.group_norm(
        x, GROUPS, w[name + ".weight"].to(x.dtype), w[name + ".bias"].to(x.dtype), 1e-6
    )


def resnet(w, name, x):
    h = conv(w, name + ".conv1", F.silu(norm(w, name + ".norm1", x)), padding=1)
    h = conv(w, name + ".conv2", F.silu(norm(w, name + ".norm2", h)), padding=1)
    if name + ".conv_shortcut.weight" in w:
        x = conv(w, name + ".conv_shortcut", x)
    return x + h


def middle(w, name, x):
    x = resnet(w, name + ".resnets.0", x)
    n, c, height, width = x.shape
    at = name + ".attentions.0."
    y = norm(w, at + "group_norm", x).flatten(2).transpose(1, 2)

    def linear(which, t):
        return F.linear(
            t, w[at + which + ".weight"].to(t.dtype), w[at + which + ".bias"].to(t.dtype)
        )

    q, k, v = (linear(which, y)[:, None] for which in ("to_q", "to_k", "to_v"))
    y = linear("to_out.0", F.scaled_dot_product_attention(q, k, v)[:, 0])
    return resnet(w, name + ".resnets.1", x + y.transpose(1, 2).reshape(n, c, height, width))


def encode(w, x):
    """Mean and log variance of the latent."""
    x = conv(w, "encoder.conv_in", x, padding=1)
    for i in range(4):
        for j in range(2):
            x = resnet(w, "encoder.down_blocks.%d.resnets.%d" % (i, j), x)
        if i < 3:
            name = "encoder.down_blocks.%d.downsamplers.0.conv" % i
            x = conv(w, name, F.pad(x, (0, 1, 0, 1)), stride=2)
    x = F.silu(norm(w, "encoder.conv_norm_out", middle(w, "encoder.mid_block", x)))
    return conv(w, "encoder.conv_out", x, padding=1).chunk(2, 1)


def decode(w, z):
    x = middle(w, "decoder.mid_block", conv(w, "decoder.conv_in", z, padding=1))
    for i in range(4):
        for j in range(3):
            x = resnet(w, "decoder.up_blocks.%d.resnets.%d" % (i, j), x)
        if i < 3:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = conv(w, "decoder.up_blocks.%d.upsamplers.0.conv" % i, x, padding=1)
    return conv(w, "decoder.conv_out", F.silu(norm(w, "decoder.conv_norm_out", x)), padding=1)


def shapes():
    """{name: shape} of every weight."""
    out = {}

    def layer(name, *shape):
        out[name + ".weight"] = shape
        out[name + ".bias"] = (shape[0],)

    def block(name, a, b):
        layer(name + ".norm1", a)
        layer(name + ".conv1", b, a, 3, 3)
        layer(name + ".norm2", b)
        layer(name + ".conv2", b, b, 3, 3)
        if a != b:
            layer(name + ".conv_shortcut", b, a, 1, 1)

    def mid(name, c):
        block(name + ".resnets.0", c, c)
        block(name + ".resnets.1", c, c)
        layer(name + ".attentions.0.group_norm", c)
        for which in ("to_q", "to_k", "to_v", "to_out.0"):
            layer(name + ".attentions.0." + which, c, c)

    layer("encoder.conv_in", WIDTHS[0], 3, 3, 3)
    for i, c in enumerate(WIDTHS):
        for j in range(2):
            block(
                "encoder.down_blocks.%d.resnets.%d" % (i, j), c if j else WIDTHS[max(0, i - 1)], c
            )
        if i < 3:
            layer("encoder.down_blocks.%d.downsamplers.0.conv" % i, c, c, 3, 3)
    mid("encoder.mid_block", WIDTHS[-1])
    layer("encoder.conv_norm_out", WIDTHS[-1])
    layer("encoder.conv_out", 2 * LATENT, WIDTHS[-1], 3, 3)
    up = WIDTHS[::-1]
    layer("decoder.conv_in", up[0], LATENT, 3, 3)
    mid("decoder.mid_block", up[0])
    for i, c in enumerate(up):
        for j in range(3):
            block("decoder.up_blocks.%d.resnets.%d" % (i, j), c if j else up[max(0, i - 1)], c)
        if i < 3:
            layer("decoder.up_blocks.%d.upsamplers.0.conv" % i, c, c, 3, 3)
    layer("decoder.conv_norm_out", up[-1])
    layer("decoder.conv_out", 3, up[-1], 3, 3)
    return out


def initial():
    out = {}
    for name, shape in shapes().items():
        if len(shape) == 1:
            out[name] = (
                torch.ones(shape)
                if "norm" in name and name.endswith("weight")
                else torch.zeros(shape)
            )
        else:
            out[name] = torch.randn(shape) / math.sqrt(math.prod(shape[1:]))
    return out


def to_model(z, config):
    return (z - config["shift_factor"]) * config["scaling_factor"]


def from_model(z, config):
    return z / config["scaling_factor"] + config["shift_factor"]


@torch.no_grad()
def pictures(w, z, config, batch=32):
    """Latents in the transformer's scale -> pictures in 0..1."""
    w = {k: v for k, v in w.items() if k.startswith("decoder.")}
    kind = next(iter(w.values())).dtype
    out = [decode(w, from_model(q, config).to(kind)).float() / 2 + 0.5 for q in z.split(batch)]
    return torch.cat(out).clamp(0, 1)
