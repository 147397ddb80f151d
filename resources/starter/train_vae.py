"""train_vae.py - trains the autoencoder from nothing and writes the folder for train.py.

  python train_vae.py --tokenizer START/tokenizer --out START --seconds 300

One GPU.  Random crops of fresh pictures; absolute and squared error, errors of the differences
between neighbours (edges), and a light pull of the latents towards a normal distribution.
Afterwards the latents' mean and spread become shift_factor and scaling_factor, and preview.json
gets the linear map from a latent to the colours of its 8x8 pixels.  Transformer and text encoder
are random.
"""

import argparse
import random
import time

import torch
import torch.nn.functional as F

import model
import painter
import scenes
import vae


def pictures(rng, n, size, device):
    return painter.paint(
        [scenes.compose(scenes.attributes(rng), rng) for _ in range(n)], size, size, device
    )


def loss_of(w, x):
    mean, spread = (t.float() for t in vae.encode(w, x))
    spread = spread.clamp(-12, 4)
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
    prior = 0.5 * (mean * mean + spread.exp() - 1 - spread).mean()
    d = vae.decode(w, z.to(x.dtype)).float() - x.float()
    edges = d.diff(dim=3).abs().mean() + d.diff(dim=2).abs().mean()
    return d.abs().mean() + (d * d).mean() + 0.5 * edges + 1e-4 * prior, (d * d).mean()


def train(args, device):
    rng, w = random.Random(args.seed), {k: v.to(device) for k, v in vae.initial().items()}
    for v in w.values():
        v.requires_grad_(True)
    average = {k: v.detach().clone() for k, v in w.items()}
    optimiser = torch.optim.AdamW(w.values(), lr=args.lr, betas=(0.9, 0.98), weight_decay=1e-3)
    start, n, pool = time.time(), 0, []
    while (done := (time.time() - start) / args.seconds) < 1:
        if n % 8 == 0:  # new pictures now and then; painting is quick, composing them is not
            pool = (pool + [pictures(rng, args.batch, 256, device)])[-16:]
        a, b = rng.randrange(129), rng.randrange(129)
        x = rng.choice(pool)[:, :, a : a + 128, b : b + 128] * 2 - 1
        for g in optimiser.param_groups:
            g["lr"] = args.lr * min(1, (n + 1) / 100) * max(0.01, min(1, (1 - done) / 0.6))
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            loss, error = loss_of(w, x)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), 0.5)
        optimiser.step()
        n += 1
        with torch.no_grad():
            for k, v in average.items():
                v.lerp_(w[k], 1 - min(0.997, n / (n + 20)))
        if n % 500 == 0:
            print("step %d, %.2f dB" % (n, 10 * torch.log10(4 / error).item()), flush=True)
    return average


@torch.no_grad()
def measure(w, device, count):
    """The config with the latents' scale, and the linear preview."""
    rng = random.Random(7)
    x = torch.cat([pictures(rng, 20, 256, device) for _ in range(count)])
    z = torch.cat([vae.encode(w, q * 2 - 1)[0] for q in x.split(20)])
    config = dict(
        vae.CONFIG,
        shift_factor=round(z.mean().item(), 5),
        scaling_factor=round(1 / z.std().item(), 5),
    )
    z = vae.to_model(z, config).permute(0, 2, 3, 1).reshape(-1, vae.LATENT).double()
    colours = (F.avg_pool2d(x, 8) * 2 - 1).permute(0, 2, 3, 1).reshape(-1, 3).double()
    z = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    s = torch.linalg.lstsq(z, colours).solution
    rest = ((z @ s - colours) ** 2).sum() / ((colours - colours.mean(0)) ** 2).sum()
    note = "rgb in [-1,1] at 1/8 resolution = latent(16, model space) @ factors + bias"
    return config, {
        "note": note,
        "factors": s[:-1].tolist(),
        "bias": s[-1].tolist(),
        "r2": 1 - rest.item(),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--seconds", type=float, default=300)
    p.add_argument("--batch", type=int, default=40)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument(
        "--measure", type=int, default=50, help="times 20 pictures for the scale of latents"
    )
    args = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    w = train(args, device)
    config, preview = measure(w, device, args.measure)
    model.write(args.out, model.initial(), w, config, args.tokenizer, preview)


if __name__ == "__main__":
    main()
