"""train.py - trains the starter model, one process a GPU; each step is a replayed CUDA graph.

  flow    rectified flow from noise to latents, text encoder included:
          torchrun --nproc_per_node 2 train.py flow --model START --out RUN --seconds 900
  distil  8 steps without guidance follow the guided teacher's finer path:
          torchrun --nproc_per_node 2 train.py distil --model RUN/flow --out RUN --seconds 330
  both    the one after the other on the same scenes, --seconds for flow and --distil for the rest

START is what train_vae.py wrote, or an earlier result.  RUN/flow and RUN/distil are complete model
folders, written every --save seconds and at the end, with a sheet of pictures beside them.
"""

import argparse
import os
import random
import shutil
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer

import model
import painter
import vae
from data import SIZES, Stream
from optim import Optimiser

# size (index into SIZES), caption length, share of the steps
FLOW = (
    (0, 32, 0.46),
    (0, 64, 0.17),
    (1, 32, 0.05),
    (1, 64, 0.03),
    (2, 32, 0.05),
    (2, 64, 0.03),
    (3, 32, 0.05),
    (3, 64, 0.02),
    (4, 32, 0.06),
    (4, 64, 0.02),
    (5, 32, 0.03),
    (6, 32, 0.03),
)
DISTIL = (
    (0, 32, 0.52),
    (0, 64, 0.18),
    (1, 32, 0.06),
    (2, 32, 0.06),
    (3, 64, 0.05),
    (3, 32, 0.05),
    (4, 32, 0.08),
)
STEPS = 8  # of the student
PROMPTS = (
    "a lake at sunset with pine trees and snowy mountains",
    "日落时雪山下的湖泊，帆船",
    "a red lighthouse by the sea at night, full moon",
    "the ocean by day with a blue sailboat and clouds",
    "snowy mountains at dawn",
    "an autumn forest with a cabin",
    "green northern lights over a lake",
    "a beach by the sea at sunset, a big sun",
    "夜晚的沙漠，满月和仙人掌",
    "rolling hills by day, a windmill, clouds",
    "a lavender field at dusk with a full moon on the left",
    "热气球，群山，清晨",
    "a house in a pine forest, falling snow, night",
    "a winding river by day with trees and distant mountains",
    "in shades of teal, mountains with fog",
    "a canyon at noon with cacti",
    "pyramids in a desert at sunset",
    "a rainbow over rolling hills",
    "violet palette, the sea, crescent moon",
    "雨中的湖泊，松树",
    "a yellow flower field, a house with a red roof",
    "misty hills at dawn",
    "a calm lake at night with a red sailboat and stars",
    "金色色调的沙漠，金字塔",
)


class Trainer:
    def __init__(self, args):
        self.args, self.started = args, time.time()
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        cuda = not args.cpu
        self.stream = Stream(
            args.model + "/tokenizer/tokenizer.json", args.seed * 64 + self.rank, args.workers
        )
        self.device = "cuda:%d" % int(os.environ.get("LOCAL_RANK", 0)) if cuda else "cpu"
        self.kind = torch.bfloat16 if cuda else torch.float32
        if cuda:
            torch.cuda.set_device(self.device)
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        if self.world > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
        torch.manual_seed(args.seed * 64 + self.rank)
        self.random = random.Random(args.seed)  # the same on every process: who trains which shape
        self.tokenizer = Tokenizer.from_file(args.model + "/tokenizer/tokenizer.json")
        self.tensors = model.read(args.model)
        self.vae, self.vae_config = model.read_vae(args.model, self.device)
        self.optimiser = Optimiser(model.fuse(self.tensors), self.device, self.kind)
        self.teacher = self.frozen(args.model)
        self.negative = self.frozen(args.negative) if args.negative else self.teacher
        self.loss = torch.zeros((), device=self.device)
        self.stream.attach(self.vae, self.vae_config, self.device)
        ids, pad = model.encode_prompts(self.tokenizer, [""], self.device)
        self.empty, self.empty_count = ids[0], int((~pad).sum())
        self.log("loaded")

    def frozen(self, folder):
        return model.fuse(model.read(folder), self.device, self.kind)

    def log(self, *words):
        if self.rank == 0:
            line = "[%6.1f] %s" % (time.time() - self.started, " ".join(str(w) for w in words))
            print(line, flush=True)
            with open(self.args.out + "/log.txt", "a") as f:
                f.write(line + "\n")

    def captions(self, ids, counts):
        pad = torch.arange(ids.shape[1], device=ids.device)[None] >= counts[:, None]
        return ids, pad

    # ---- the two losses; each returns a function that leaves gradients in the optimiser

    def flow(self, size, length, n):
        ring = self.stream.rings[size]
        area = ring.height * ring.width / 65536
        shift = 2.0 if area < 2 else 3.0

        def gradients():
            z, ids, counts = ring.batch(n, length)
            if length == 32:
                drop = torch.rand(n, device=z.device) < 0.12
                ids = torch.where(drop[:, None], self.empty[None], ids)
                counts = torch.where(drop, self.empty_count, counts)
            ids, pad = self.captions(ids, counts)
            u = torch.sigmoid(torch.randn(n, device=z.device))
            u = torch.where(torch.rand(n, device=z.device) < 0.2, torch.rand(n, device=z.device), u)
            sigma = model.shifted(u, shift).clamp(1e-3, 1)
            noise, s = torch.randn_like(z), sigma[:, None, None, None]
            w = self.optimiser.weights
            v = model.velocity(
                w, (1 - s) * z + s * noise, sigma, model.text(w, ids, self.kind), pad
            )
            loss = F.mse_loss(v, noise - z)
            self.optimiser.collect(loss)
            self.loss.add_(loss.detach())

        return gradients

    def distil(self, size, length, n):
        """Keeps n pictures under way, each at its own place u on the student's path (1 is noise).
        A step trains the student to jump where the guided teacher walks (--parts midpoint steps),
        then moves them all on."""
        ring, device, cfg = self.stream.rings[size], self.device, self.args.cfg
        x = torch.randn(n, 16, ring.height // 8, ring.width // 8, device=device)
        u = torch.ones(n, device=device)
        ids, counts = (t.clone() for t in ring.batch(n, length)[1:])
        blank = (torch.arange(32, device=device) >= self.empty_count)[None].expand(n, 32)

        def wide(t):
            return t[:, None, None, None]

        def walk(features, pad, empty, s0, s1):
            def guided(y, s):
                v = model.velocity(self.teacher, y, s, features, pad)
                if cfg == 1:
                    return v
                v0 = model.velocity(self.negative, y, s, empty, blank)
                return v0 + cfg * (v - v0)

            y, parts = x, self.args.parts
            for i in range(parts):
                a, b = (s0 + (s1 - s0) * k / parts for k in (i, i + 1))
                half = (a + b) / 2
                middle = y + wide(half - a) * guided(y, a)
                y = y + wide(b - a) * guided(middle, half)
            return y

        def fresh():
            """New pictures: pure noise, or a noised latent at some place of the path."""
            z, new_ids, new_counts = ring.batch(n, length)
            r = torch.rand(n, device=device)
            grid = torch.randint(1, STEPS, (n,), device=device) / STEPS
            place = torch.where(r < 0.86, grid, torch.rand_like(r).clamp(min=0.01))
            place = torch.where(r < 0.62, torch.ones_like(r), place)
            s = wide(model.shifted(place))
            return (1 - s) * z + s * torch.randn_like(z), place, new_ids, new_counts

        def gradients():
            u1 = (u - 1 / STEPS).clamp(min=0)
            s0, s1 = model.shifted(u), model.shifted(u1)
            with torch.no_grad():
                features = model.text(self.teacher, ids, self.kind)
                empty = model.text(self.negative, self.empty[None], self.kind).expand(n, -1, -1)
                pad = self.captions(ids, counts)[1]
                target = (walk(features, pad, empty, s0, s1) - x) / wide((s1 - s0).clamp(max=-1e-3))
            v = model.velocity(self.optimiser.weights, x, s0, features, pad)
            loss = F.mse_loss(v, target)
            self.optimiser.collect(loss)
            self.loss.add_(loss.detach())
            with torch.no_grad():
                done = u1 < 1e-4
                new = fresh()
                moved = (x + wide(s1 - s0) * v.detach(), u1, ids, counts)
                for state, there, here in zip((x, u, ids, counts), new, moved):
                    state.copy_(torch.where(done.view(-1, *[1] * (state.ndim - 1)), there, here))

        return gradients

    # ---- the loop

    def capture(self, work):
        """work as one CUDA graph; all graphs share their memory, since one runs at a time."""
        if self.args.cpu:
            return work
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                work()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.memory, capture_error_mode="thread_local"):
            work()
        self.memory = self.memory or graph.pool()
        self.kept.append(work)  # a graph knows where its tensors are, but does not own them
        return graph.replay

    def rate(self, done, steps):
        late = min(1.0, (1 - done) / (1 - self.args.hold))
        return self.peak * min(1, (steps + 1) / 100) * max(late, 0.004)

    def synchronise(self, done):
        """The first process's clock decides for all."""
        if self.world == 1:
            return done
        value = torch.tensor([done], device=self.device)
        dist.broadcast(value, 0)
        return value.item()

    def run(self, stage, plan, seconds, peak):
        args, o, build = self.args, self.optimiser, getattr(self, stage)
        self.stage, self.peak, self.memory, self.kept = stage, peak, None, []
        o.rate.zero_()
        self.stream.fill(args.fill)
        self.log("scenes:", [r.total for r in self.stream.rings])
        steps_of, shares = [], [p[2] for p in plan]
        for size, length, _ in plan:
            h, w, _ = SIZES[size]
            tokens = (h * w // 256 + 31) // 32 * 32 + length
            n = max(2, args.tokens // tokens // 8 * 8)
            steps_of.append(self.capture(build(size, length, n)))
        update = self.capture(lambda: o.step(1 / self.world))
        for t in (o.momentum, o.square, o.count, self.loss):
            t.zero_()
        o.ema.copy_(o.master)
        self.log("captured", len(steps_of), "kinds of steps")
        start = saved = marked = time.time()
        n, done, last = 0, 0.0, 0
        while done < 1:
            if n % 20 == 0:
                done = self.synchronise((time.time() - start) / seconds)
                o.rate.fill_(self.rate(done, n))
            o.keep.fill_(1 - 1 / min(n / 8 + 4, args.average))
            steps_of[self.random.choices(range(len(plan)), shares)[0]]()
            if self.world > 1:
                dist.all_reduce(o.grad)
            update()
            n += 1
            if n % args.refresh == 0:
                self.stream.take()
            if n in (20, 100) or n % 500 == 0:
                loss, now = self.loss.item() / (n - last), time.time()
                self.log(
                    "%s step %d loss %.4f rate %.1e, %.1f steps/s, %d scenes"
                    % (
                        stage,
                        n,
                        loss,
                        o.rate.item(),
                        (n - last) / (now - marked),
                        sum(r.total for r in self.stream.rings),
                    )
                )
                self.loss.zero_()
                last, marked = n, now
            if time.time() - saved > args.save and self.rank == 0:
                self.save()
                saved = time.time()
        if self.rank == 0:
            self.save()
        self.log(
            stage,
            "done:",
            n,
            "steps, %.0f s" % (time.time() - start),
            "%.1f M samples" % (n * self.world * args.tokens / 288e6),
        )

    def follow(self):
        """What has been trained becomes the teacher; the student begins as it, or as --student
        with the teacher's text encoder, which distillation leaves alone."""
        o = self.optimiser
        o.master.copy_(o.ema)
        o.live.copy_(o.ema)
        self.teacher = {k: v.detach().clone() for k, v in o.weights.items()}
        self.negative = self.teacher
        if self.args.student:
            begin = model.fuse(model.read(self.args.student), self.device)
            for k, v in o.views(o.master).items():
                if not k.startswith("text."):
                    v.copy_(begin[k])
            o.live.copy_(o.master)

    def stop(self):
        self.stream.stop()
        if self.world > 1:
            dist.destroy_process_group()

    @torch.no_grad()
    def save(self):
        args, folder = self.args, "%s/%s" % (self.args.out, self.stage)
        averaged = {
            k: v.to(torch.bfloat16) for k, v in self.optimiser.views(self.optimiser.ema).items()
        }
        preview = model.read_json(args.model + "/preview.json")
        model.write(
            folder + ".part",
            model.unfuse(averaged, self.tensors),
            self.vae,
            self.vae_config,
            args.model + "/tokenizer",
            preview,
        )
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(folder + ".part", folder)
        steps, cfg = (16, args.cfg) if self.stage == "flow" else (STEPS, 1.0)
        w = {k: v.to(self.kind) for k, v in averaged.items()}
        z = model.sample(w, self.tokenizer, PROMPTS, 256, 256, steps, cfg, 1)
        decoder = {k: v.to(self.kind) for k, v in self.vae.items()}
        painter.sheet(vae.pictures(decoder, z, self.vae_config), 8, folder + ".jpg")
        self.log("saved", folder)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("stage", choices=("flow", "distil", "both"))
    p.add_argument("--model", required=True, help="folder to start from; the teacher of distil")
    p.add_argument("--out", required=True)
    p.add_argument("--student", help="both: what the second loop starts from")
    p.add_argument("--seconds", type=float, required=True, help="time of the loop itself")
    p.add_argument("--distil", type=float, default=330, help="both: time of the second loop")
    p.add_argument("--distil-lr", type=float, default=6e-4, help="both: rate of the second loop")
    p.add_argument("--negative", help="distil: folder for the unguided branch, if not the teacher")
    p.add_argument(
        "--cfg", type=float, default=3.0, help="guidance to distil, and of the flow sheets"
    )
    p.add_argument(
        "--parts", type=int, default=1, help="distil: the teacher's steps in one of ours"
    )
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument(
        "--hold", type=float, default=0.5, help="share of the time before the rate falls"
    )
    p.add_argument("--tokens", type=int, default=55296, help="tokens of a batch on one GPU")
    p.add_argument(
        "--average", type=float, default=1500, help="steps that the weights are averaged over"
    )
    p.add_argument("--fill", type=int, default=30000, help="scenes before the first step")
    p.add_argument("--refresh", type=int, default=40, help="steps between new batches of scenes")
    p.add_argument("--save", type=float, default=100, help="seconds between checkpoints")
    p.add_argument("--workers", type=int, default=15)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cpu", action="store_true", help="for tests")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    trainer = Trainer(args)
    if args.stage != "distil":
        trainer.run("flow", FLOW, args.seconds, args.lr)
    if args.stage == "both":
        trainer.follow()
        trainer.run("distil", DISTIL, args.distil, args.distil_lr)
    elif args.stage == "distil":
        trainer.run("distil", DISTIL, args.seconds, args.lr)
    trainer.stop()


if __name__ == "__main__":
    main()
