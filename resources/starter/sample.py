"""sample.py - pictures from a model folder with diffusers' own ZImagePipeline, on the CPU.

python sample.py model out "a lake at sunset" "日落时雪山下的湖泊" --seed 1 --size 384x256
python sample.py model out --examples model/examples.json
"""

import argparse
import json
import os
import time

import torch
from diffusers import ZImagePipeline


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("prompts", nargs="*")
    p.add_argument("--examples", help="a list of prompts with their seeds and sizes")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--size", default="256x256", help="width x height")
    args = p.parse_args()
    width, height = map(int, args.size.split("x"))
    jobs = [
        {"prompt": t, "seed": args.seed + i, "width": width, "height": height}
        for i, t in enumerate(args.prompts)
    ]
    if args.examples:
        with open(args.examples, encoding="utf-8") as f:
            jobs = json.load(f)
    pipe = ZImagePipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    os.makedirs(args.out, exist_ok=True)
    for i, job in enumerate(jobs):
        start = time.time()
        # diffusers adds guidance to 1: its 0 is CFG 1, no guidance.
        picture = pipe(
            job["prompt"],
            width=job["width"],
            height=job["height"],
            guidance_scale=0.0,
            num_inference_steps=args.steps,
            generator=torch.Generator("cpu").manual_seed(job["seed"]),
        ).images[0]
        picture.save("%s/%03d.png" % (args.out, i))
        print("%03d.png %.1f s  %s" % (i, time.time() - start, job["prompt"]), flush=True)


if __name__ == "__main__":
    main()
