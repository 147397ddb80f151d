"""evaluate.py - measures a model folder: reconstruction, and whether pictures show what is asked.

  python evaluate.py classifier --out RUN --seconds 45
  python evaluate.py model --model RUN/distil --out RUN --prompts 800 [--steps 8] [--cfg 1]

A small convolutional network learns to read the attributes of scenes off freshly painted pictures;
then it reads pictures generated for held-out prompts (captions.probe: other scenes and wording than
in training).  The same network reads painted pictures of the same scenes, which bounds the score.
"""

import argparse
import itertools
import multiprocessing as mp
import os
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer

import captions
import model
import painter
import scenes
import vae

BAR = {
    "terrain": 0.95,
    "time": 0.95,
    "palette": 0.95,
    "disc": 0.90,
    "clouds": 0.90,
    "weather": 0.90,
    "boat": 0.80,
    "landmark": 0.80,
    "trees": 0.80,
}


class Reader(nn.Module):
    """Attributes off a picture [n, 3, 256, 256]: one vector of scores for each."""

    def __init__(self):
        super().__init__()
        widths = (3, 48, 96, 160, 224, 288)
        layers = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            k = 5 if i == 0 else 3
            layers += [
                nn.Conv2d(a, b, k, 2, k // 2, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(True),
                nn.Conv2d(b, b, 3, 1, 1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(True),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * 4, sum(scenes.LABELS.values()))

    def features(self, x):
        y = self.body(x * 2 - 1)
        return torch.cat([F.adaptive_avg_pool2d(y, (1, 3)).flatten(1), y.amax((2, 3))], 1)

    def forward(self, x):
        return self.head(self.features(x)).split(list(scenes.LABELS.values()), 1)


def some_scenes(job):
    seed, n = job
    rng, out = random.Random(seed), []
    for _ in range(n):
        a = scenes.attributes(rng)
        out.append((scenes.compose(a, rng), list(scenes.labels(a).values())))
    return out


def drawn(pool, first, jobs, each=500):
    got = itertools.chain(*pool.map(some_scenes, [(first + i, each) for i in range(jobs)]))
    lists, labels = zip(*got)
    return lists, np.array(labels)


def train_classifier(args, device):
    """Pictures are painted anew for each batch, half of them blurred or made noisy a little, so
    that what is read does not hang on single pixels."""
    with mp.get_context("fork").Pool(args.workers) as pool:
        lists, labels = drawn(pool, 50_000_000, args.scenes // 500)
        held, held_labels = drawn(pool, 60_000_000, 4)
    labels = torch.from_numpy(labels).to(device)
    net = Reader().to(device)
    if args.start:
        saved = torch.load(args.start, map_location=device)["net"]
        net.load_state_dict({k: v for k, v in saved.items() if "head" not in k}, strict=False)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    start, n, rng = time.time(), 0, np.random.default_rng(1)
    while (done := (time.time() - start) / args.seconds) < 1:
        for g in optimiser.param_groups:
            g["lr"] = 2e-3 * min(1, (n + 1) / 100) * max(0.01, 1 - done)
        j = rng.integers(0, len(lists), 160)
        x = painter.paint([lists[i] for i in j], 256, 256, device, ss=2)
        if n % 4 == 1:
            x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")
        elif n % 4 == 3:
            x = (x + 0.02 * torch.randn_like(x)).clamp(0, 1)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            out = net(x)
        truth = labels[torch.from_numpy(j).to(device)]
        loss = sum(
            F.cross_entropy(o.float(), truth[:, i], label_smoothing=0.02) for i, o in enumerate(out)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        n += 1
    net.eval()
    read = classify(net, painter.paint(held, 256, 256, device))
    right = (read == torch.from_numpy(held_labels)).float().mean(0)
    accuracy = {k: round(v.item(), 3) for k, v in zip(scenes.LABELS, right)}
    print("classifier: %d steps, on %d held-out pictures %s" % (n, len(held), accuracy))
    torch.save(
        {"net": {k: v.half() for k, v in net.state_dict().items()}, "accuracy": accuracy},
        args.out + "/classifier.pt",
    )


@torch.no_grad()
def classify(net, pictures):
    out = [torch.stack([o.argmax(1) for o in net(x)], 1) for x in pictures.split(100)]
    return torch.cat(out).cpu()


@torch.no_grad()
def reconstruction(folder, lists, device):
    """PSNR of each picture through the autoencoder, in float32."""
    tensors, _ = model.read_vae(folder, device)
    out = []
    for k in range(0, len(lists), 20):
        x = painter.paint(lists[k : k + 20], 256, 256, device)
        y = (vae.decode(tensors, vae.encode(tensors, x * 2 - 1)[0]) / 2 + 0.5).clamp(0, 1)
        out += (-10 * torch.log10(((x - y) ** 2).mean((1, 2, 3)))).tolist()
    return out


@torch.no_grad()
def distance(net, a, b):
    """Frechet distance of two sets of pictures in the classifier's features; 0 is the same."""
    f = [torch.cat([net.features(x) for x in p.split(100)]).double() for p in (a, b)]
    (m0, c0), (m1, c1) = ((x.mean(0), torch.cov(x.T)) for x in f)
    cross = torch.linalg.eigvals(c0 @ c1).real.clamp(min=0).sqrt().sum()
    return ((m0 - m1).square().sum() + c0.trace() + c1.trace() - 2 * cross).item()


def score(read, named):
    """By attribute: the share of named ones that the pictures show, and how many were named."""
    names, hit, asked = list(scenes.LABELS), {}, {}
    for row, wanted in zip(read.tolist(), named):
        for key, value in wanted.items():
            asked[key] = asked.get(key, 0) + 1
            hit[key] = hit.get(key, 0) + (row[names.index(key)] == value)
    return {k: (round(hit[k] / asked[k], 3), asked[k]) for k in names if k in asked}


def prompts(n, seed=99):
    """Held-out display lists, their prompts (a quarter Chinese), and what those name."""
    rng, out = random.Random(seed), []
    for i in range(n):
        a = scenes.attributes(rng)
        out.append((scenes.compose(a, rng), *captions.probe(a, rng, int(i % 4 == 3))))
    return zip(*out)


def evaluate(args, device):
    kind = torch.bfloat16 if device != "cpu" else torch.float32
    saved = torch.load(args.out + "/classifier.pt", map_location=device)
    net = Reader().to(device)
    net.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in saved["net"].items()}
    )
    net.eval()
    lists, texts, named = prompts(args.prompts)
    painted = painter.paint(lists, 256, 256, device)
    tokenizer = Tokenizer.from_file(args.model + "/tokenizer/tokenizer.json")
    w = model.fuse(model.read(args.model), device, kind)
    negative = model.fuse(model.read(args.negative), device, kind) if args.negative else None
    z = model.sample(w, tokenizer, texts, 256, 256, args.steps, args.cfg, args.seed, negative)
    tensors, config = model.read_vae(args.model, device, kind)
    made = vae.pictures(tensors, z, config)
    psnr = reconstruction(args.model, lists[:200], device)
    result = {
        "model": os.path.basename(args.model),
        "prompts": args.prompts,
        "steps": args.steps,
        "cfg": args.cfg,
        "psnr": [round(float(np.mean(psnr)), 2), round(min(psnr), 2)],
        "distance": round(distance(net, made, painted), 2),
        "classifier": saved["accuracy"],
        "painted": score(classify(net, painted), named),
    }
    read = classify(net, made)
    result["generated"] = score(read, named)
    for key, (share, asked) in result["generated"].items():
        bar = BAR.get(key)
        print(
            "%-9s %.3f of %3d, painted %.3f%s"
            % (
                key,
                share,
                asked,
                result["painted"][key][0],
                (
                    ""
                    if bar is None
                    else ", bar %.2f %s" % (bar, "held" if share >= bar else "MISSED")
                ),
            )
        )
    print("distance %.2f, autoencoder %.2f dB (worst %.2f)" % (result["distance"], *result["psnr"]))
    name = "%s/eval_%s_%d_cfg%g" % (args.out, result["model"], args.steps, args.cfg)
    names = list(scenes.LABELS)
    result["wrong"] = [
        [t, {k: row[names.index(k)] for k, v in d.items() if row[names.index(k)] != v}]
        for t, d, row in zip(texts, named, read.tolist())
        if any(row[names.index(k)] != v for k, v in d.items())
    ]
    result["sheet"] = list(texts[:40])
    model.write_json(result, name + ".json")
    painter.sheet(made[:40], 8, name + ".jpg")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("what", choices=("classifier", "model"))
    p.add_argument("--out", required=True)
    p.add_argument("--model")
    p.add_argument("--negative", help="folder for the unguided branch, if not the model itself")
    p.add_argument("--seconds", type=float, default=45)
    p.add_argument("--scenes", type=int, default=60000, help="scenes the classifier learns from")
    p.add_argument("--start", help="classifier.pt of another run, to begin with all but its head")
    p.add_argument("--prompts", type=int, default=800)
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--cfg", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--workers", type=int, default=15)
    p.add_argument("--cpu", action="store_true")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    device = "cpu" if args.cpu else "cuda"
    torch.backends.cudnn.benchmark = True
    (train_classifier if args.what == "classifier" else evaluate)(args, device)


if __name__ == "__main__":
    main()
