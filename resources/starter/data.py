"""data.py - an endless stream of scenes, kept as latents on the GPU.

Worker processes draw scenes and captions; the training process paints and encodes them and keeps
the newest of each picture size in a ring.
"""

import multiprocessing as mp
import os
import queue
import random

import numpy as np
import torch

import captions
import painter
import scenes
import vae
from model import WRAP

# height, width, share of the scenes
SIZES = (
    (256, 256, 0.70),
    (256, 384, 0.07),
    (384, 256, 0.07),
    (384, 384, 0.06),
    (512, 512, 0.06),
    (320, 480, 0.02),
    (480, 320, 0.02),
)
VARIANTS = {32: 4, 64: 3}  # captions of each scene by their padded length
JOB = 160  # pictures of 256x256 that a worker hands over at once


def captions_of(a, rng, tokenizer, length):
    """VARIANTS[length] captions that fill the length class: ids [n, length] and their counts."""
    ids = np.zeros((VARIANTS[length], length), np.int16)
    counts, k, tries = np.zeros(len(ids), np.int16), 0, 0
    while k < len(ids):
        tokens = tokenizer.encode(WRAP % captions.caption(a, rng, length > 32)).ids
        tries += 1
        if len(tokens) <= length and (len(tokens) > length - 32 or tries > 12):
            ids[k, : len(tokens)], counts[k] = tokens, len(tokens)
            k += 1
    return ids, counts


def draw(seed, tokenizer, jobs):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer

    rng, tok = random.Random(seed), Tokenizer.from_file(tokenizer)
    size = seed % len(SIZES)  # so that no size has to be waited for
    while True:
        height, width, _ = SIZES[size]
        job = {"size": size, "lists": [], 32: [], 64: []}
        for _ in range(max(1, JOB * 65536 // max(65536, height * width))):
            a = scenes.attributes(rng)
            job["lists"].append(scenes.compose(a, rng, width / height))
            for length in VARIANTS:
                job[length].append(captions_of(a, rng, tok, length))
        jobs.put(job)
        size = rng.choices(range(len(SIZES)), [s[2] for s in SIZES])[0]


class Ring:
    """The latents of one picture size with their captions."""

    def __init__(self, height, width, capacity, device):
        self.height, self.width, self.capacity, self.total = height, width, capacity, 0
        self.z = torch.zeros(
            capacity, 16, height // 8, width // 8, dtype=torch.bfloat16, device=device
        )
        self.ids = {
            L: torch.zeros(capacity, n, L, dtype=torch.int16, device=device)
            for L, n in VARIANTS.items()
        }
        self.counts = {
            L: torch.ones(capacity, n, dtype=torch.int16, device=device)
            for L, n in VARIANTS.items()
        }
        self.filled = torch.ones((), device=device)

    def add(self, z, job):
        at = torch.arange(self.total, self.total + len(z), device=z.device) % self.capacity
        self.z[at] = z.to(torch.bfloat16)
        for L in VARIANTS:
            self.ids[L][at] = torch.from_numpy(np.stack([c[0] for c in job[L]])).to(z.device)
            self.counts[L][at] = torch.from_numpy(np.stack([c[1] for c in job[L]])).to(z.device)
        self.total += len(z)
        self.filled.fill_(min(self.total, self.capacity))

    def batch(self, n, length):
        """n random latents (float32), one caption of each, and where the captions end."""
        device = self.z.device
        j = (torch.rand(n, device=device) * self.filled).long()
        k = torch.randint(0, VARIANTS[length], (n,), device=device)
        return self.z[j].float(), self.ids[length][j, k].long(), self.counts[length][j, k].long()


class Stream:
    def __init__(self, tokenizer, seed, workers, capacity=160000):
        """Starts the workers; call before CUDA is initialised."""
        context = mp.get_context("fork")
        self.jobs = context.Queue(maxsize=48)
        self.workers = [
            context.Process(target=draw, args=(seed * 1000 + i, tokenizer, self.jobs), daemon=True)
            for i in range(workers)
        ]
        self.capacity = capacity
        for w in self.workers:
            w.start()

    def attach(self, vae_tensors, config, device):
        kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self.vae = {
            k: v.to(device, kind) for k, v in vae_tensors.items() if k.startswith("encoder")
        }
        self.config, self.device, self.kind = config, device, kind
        self.rings = [
            Ring(h, w, max(64, int(self.capacity * share)), device) for h, w, share in SIZES
        ]

    @torch.no_grad()
    def take(self, wait=False):
        """Encodes the next job; False when none is ready."""
        try:
            job = self.jobs.get(timeout=120) if wait else self.jobs.get_nowait()
        except queue.Empty:
            return False
        ring = self.rings[job["size"]]
        x = painter.paint(job["lists"], ring.height, ring.width, self.device) * 2 - 1
        ring.add(vae.to_model(vae.encode(self.vae, x.to(self.kind))[0].float(), self.config), job)
        return True

    def fill(self, scenes_wanted):
        while sum(r.total for r in self.rings) < scenes_wanted or not all(
            r.total for r in self.rings
        ):
            self.take(wait=True)

    def stop(self):
        for w in self.workers:
            w.terminate()
