"""tests/bench/peers_gpu.py - peers.py --gpu: the same checkpoint here and in diffusers, on one GPU.

Ours is timed right before and right after diffusers, by `safelight-cli bench` in processes of its own;
diffusers by CUDA events in this one.  Both in bfloat16, batch 1, no guidance, random inputs."""

import datetime
import gc
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

WARM = 3
WORDS = "hill sea cloud boat moon tree house river stone light grass road bird snow sand".split()


def run_ours(args):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        command = [args.cli, "bench", "--device", "cuda", "-m", args.model, "--json", str(path)]
        command += ["--sizes", ",".join(map(str, args.sizes)), "-r", str(args.pictures)]
        command += ["--passes"] if args.passes else []
        command += ["--tokens", str(args.tokens), "--text-tokens", str(args.text_tokens)]
        subprocess.run(command, check=True)
        told = json.loads(path.read_text())
    values = {}
    for s in told["series"]:
        name = f"{s['name']} {s['width']}" if s["width"] else s["name"]
        values[name.replace("step ", "forward ") if name.startswith("step ") else name] = s["values"]
    return values, told["about"]["device"]


class Diffusers:
    def __init__(self, args):
        import torch
        from diffusers import ZImagePipeline

        self.args, self.torch, self.values = args, torch, {}
        begin = time.perf_counter()
        self.pipe = ZImagePipeline.from_pretrained(args.model, dtype=torch.bfloat16).to("cuda")
        self.pipe.set_progress_bar_config(disable=True)
        torch.cuda.synchronize()
        self.values["device and model opened"] = [(time.perf_counter() - begin) * 1e3]

    def times(self, name, run, samples):
        torch = self.torch
        for _ in range(WARM):
            run()
        out = []
        for _ in range(samples):
            a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            a.record()
            run()
            b.record()
            b.synchronize()
            out.append(a.elapsed_time(b))
        self.values[name] = out
        print(f"diffusers: {name} {cell(out)} ms", flush=True)

    def random(self, *shape):
        return self.torch.randn(shape, dtype=self.torch.bfloat16, device="cuda")

    def forward(self, name, size, samples):
        width = self.pipe.transformer.config.cap_feat_dim
        x, text = self.random(16, 1, size // 8, size // 8), self.random(self.args.tokens, width)
        t = self.torch.tensor([0.25], device="cuda")
        self.times(name, lambda: self.pipe.transformer([x], t, [text], return_dict=False), samples)

    def stages(self):
        ids = self.torch.randint(0, 150000, [1, self.args.text_tokens], device="cuda")
        n = self.args.samples
        self.times(f"text, {self.args.text_tokens} tokens",
                   lambda: self.pipe.text_encoder(input_ids=ids, output_hidden_states=True), n)
        size = self.args.picture
        latent = self.random(1, 16, size // 8, size // 8)
        self.times(f"decode {size}", lambda: self.pipe.vae.decode(latent, return_dict=False), n)

    def pictures(self):
        size, out = self.args.picture, []
        for i in range(1 + self.args.pictures):
            prompt = " ".join(WORDS[(i + j) % len(WORDS)] for j in range(self.args.tokens - 9))
            begin = time.perf_counter()
            self.pipe(prompt, height=size, width=size, num_inference_steps=8, guidance_scale=0.0, output_type="np")
            out.append((time.perf_counter() - begin) * 1e3)
        self.values[f"picture {size}"] = out[1:]

    def run(self):
        for size in self.args.sizes:
            self.forward(f"forward {size}", size, self.args.samples if size < 2048 else 4)
        self.stages()
        self.pictures()
        self.values["memory with pictures"] = [self.torch.cuda.max_memory_allocated() * 1e-9]
        if self.args.compile and self.args.compile_blocks:
            self.pipe.transformer.compile_repeated_blocks(dynamic=False)  # seconds, not a minute
        elif self.args.compile:
            self.pipe.transformer.compile()
        for size in self.args.compile:
            begin = time.perf_counter()
            self.forward(f"forward {size}, compiled", size, self.args.samples)
            self.values[f"compiling {size}"] = [(time.perf_counter() - begin) * 1e3]
        return self.values


def versions(torch):
    import diffusers
    import transformers

    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "-i", "0"]
    gpu, driver = subprocess.run(query, capture_output=True, text=True).stdout.strip().split(", ")
    return dict(gpu=gpu, driver=driver, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
                torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__)


def cell(values):
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(args, before, after, theirs):
    both = {k: v + after.get(k, []) for k, v in before.items()}
    rows = ["| ms | ours before | ours after | diffusers eager | ratio | torch.compile | ratio |",
            "|---|---|---|---|---|---|---|"]
    names = [f"forward {s}" for s in args.sizes]
    names += [f"text, {args.text_tokens} tokens", f"decode {args.picture}", f"picture {args.picture}"]
    for name in names:
        ours, compiled = both.get(name, []), theirs.get(f"{name}, compiled")
        ratio = lambda x: f"{statistics.median(x) / statistics.median(ours):.2f}" if x and ours else "-"
        rows.append(f"| {name} | {cell(before.get(name))} | {cell(after.get(name))} | {cell(theirs.get(name))} "
                    f"| {ratio(theirs.get(name))} | {cell(compiled)} | {ratio(compiled)} |")
    for name in ("device and model opened", f"first picture {args.sizes[0]}", "memory with pictures", "GPU's memory with pictures"):
        if name in both:
            rows.append(f"| {name} | {cell(before.get(name))} | {cell(after.get(name))} "
                        f"| {cell(theirs.get(name))} | | | |")
    return "\n".join(rows)


def main(args):
    import torch

    sizes = args.sizes
    before, device = run_ours(args)
    diffusers = Diffusers(args)
    with torch.no_grad():
        theirs = diffusers.run()
    about = versions(torch) | dict(device=device, date=datetime.date.today().isoformat(), tokens=args.tokens)
    del diffusers
    gc.collect()
    torch.cuda.empty_cache()
    if args.sizes_after:
        args.sizes = args.sizes_after
    after = {} if args.once else run_ours(args)[0]
    args.sizes = sizes
    text = table(args, before, after, theirs)
    print(text, flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = args.out / f"{about['date']}-{args.name}"
        stem.with_suffix(".json").write_text(
            json.dumps(dict(about=about, before=before, after=after, diffusers=theirs), indent=1) + "\n")
        head = ", ".join(f"{k} {v}" for k, v in about.items())
        stem.with_suffix(".md").write_text(f"# {args.name}\n\n{head}. Medians with least and most.\n\n{text}\n")
