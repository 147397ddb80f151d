#!/usr/bin/env python3
"""Times one picture of a model here and in diffusers, alternating in one run.

    pip install torch diffusers transformers
    python3 tests/bench/peers.py _build/app/safelight-cli resources/starter/model
    python3 tests/bench/peers.py --gpu _build/app/safelight-cli /tmp/ckpt --compile 1024 --out tests/bench/results

With --gpu, see peers_gpu.py.  On the CPU both use the same number of threads and float32.  diffusers' pipeline stays loaded; ours is a process of
its own each time, of which the engine's time for its first and second picture is taken and, apart,
the wall time of the whole process with a single picture.  Prints medians with least and most as a
Markdown table.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

PROMPT = "rolling hills by day with clouds"


def ours(cli, model, size, threads, count):
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        out = subprocess.run(
            [cli, "generate", "--json", "--device", "cpu", "-t", str(threads), "-m", model,
             "-p", PROMPT, "-s", "1", "-W", str(size), "-H", str(size), "-b", str(count),
             "-o", str(Path(folder) / "p-%d.png")],
            check=True, capture_output=True, text=True,
        ).stdout
        wall = time.perf_counter() - begin
    return wall, [json.loads(line)["seconds"] for line in out.splitlines()]


def load_diffusers(model, threads):
    import torch
    from diffusers import ZImagePipeline

    torch.set_num_threads(threads)
    pipe = ZImagePipeline.from_pretrained(model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def picture(size):
        begin = time.perf_counter()
        pipe(PROMPT, height=size, width=size, num_inference_steps=8, guidance_scale=0.0,
             generator=torch.Generator().manual_seed(1))
        return time.perf_counter() - begin

    return picture


def cell(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cli")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+")
    gpu = parser.add_argument_group("with --gpu")
    gpu.add_argument("--gpu", action="store_true", help="bfloat16 on the GPU, forwards and stages")
    gpu.add_argument("--compile", type=int, nargs="*", default=[], help="sizes to try torch.compile at")
    gpu.add_argument("--compile-blocks", action="store_true", help="the repeated blocks only")
    gpu.add_argument("--sizes-after", type=int, nargs="+", help="ours once more, at fewer sizes")
    gpu.add_argument("--passes", action="store_true", help="ours with its ceilings and passes")
    gpu.add_argument("--samples", type=int, default=10, help="of a forward in diffusers")
    gpu.add_argument("--pictures", type=int, default=3, help="after the warm-up")
    gpu.add_argument("--picture", type=int, default=1024, help="size of the picture and of the decode")
    gpu.add_argument("--tokens", type=int, default=64, help="of a prompt, wrapper included")
    gpu.add_argument("--text-tokens", type=int, default=96, help="for the encoder alone")
    gpu.add_argument("--once", action="store_true", help="ours only before diffusers")
    gpu.add_argument("--out", type=Path, help="folder for JSON and Markdown")
    gpu.add_argument("--name", default="peers", help="of these files, behind the date")
    args = parser.parse_args()
    args.sizes = args.sizes or ([512, 768, 1024, 2048] if args.gpu else [256, 512])
    if args.gpu:
        import peers_gpu

        return peers_gpu.main(args)

    diffusers = load_diffusers(args.model, args.threads)
    print("| size | Safelight, first | Safelight, warm | diffusers, warm | ratio "
          "| Safelight, whole process |")
    print("|---|---|---|---|---|---|")
    for size in args.sizes:
        diffusers(size)  # warm-up
        walls, firsts, warms, theirs = [], [], [], []
        for _ in range(args.rounds):
            theirs.append(diffusers(size))
            walls.append(ours(args.cli, args.model, size, args.threads, 1)[0])
            first, warm = ours(args.cli, args.model, size, args.threads, 2)[1]
            firsts.append(first)
            warms.append(warm)
        ratio = statistics.median(theirs) / statistics.median(warms)
        print(f"| {size} | {cell(firsts)} s | {cell(warms)} s | {cell(theirs)} s | {ratio:.2f}x "
              f"| {cell(walls)} s |", flush=True)


if __name__ == "__main__":
    main()
