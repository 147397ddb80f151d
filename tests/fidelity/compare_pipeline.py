#!/usr/bin/env python3
"""Makes one picture with safelight-cli and with diffusers' own ZImagePipeline, and compares.

    pip install torch diffusers transformers safetensors
    python3 tests/fidelity/compare_pipeline.py build/app/safelight-cli resources/starter/model

Both get the same folder, prompt, seed and size; diffusers computes in float32 on the CPU.  Compared
are the noise (bit for bit), token ids, text embeddings, the latents after every step, and the PNG.
Fails when the last latents are more than 1e-4 apart (measured with the starter model: 1e-6), or when
more than one value in a thousand of the picture differs by more than 1."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import ZImagePipeline
from PIL import Image
from safetensors.torch import load_file

LATENT_BAR, PIXEL_BAR = 1e-4, 1e-3


def run_safelight(args, folder):
    command = [args.cli, "generate", "--quiet", "--model", args.model, "-p", args.prompt]
    command += ["-W", str(args.width), "-H", str(args.height), "--steps", str(args.steps)]
    command += ["--cfg-scale", str(args.cfg), "--seed", str(args.seed), "--rng", "cpu"]
    command += ["--sampling-method", "euler", "--scheduler", "simple"]
    command += ["--dump-latents", folder / "latents.safetensors"]
    command += ["--dump-embeddings", folder / "text.safetensors", "-o", folder / "picture.png"]
    if args.cfg != 1:
        command += ["-n", args.negative]
    subprocess.run(command, check=True)
    picture = np.asarray(Image.open(folder / "picture.png").convert("RGB"))
    text = load_file(folder / "text.safetensors")
    return picture, text, load_file(folder / "latents.safetensors")


def run_diffusers(args):
    pipe = ZImagePipeline.from_pretrained(args.model, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    shape = [1, pipe.transformer.config.in_channels, args.height // 8, args.width // 8]
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(args.seed))
    latents = []

    def after_step(pipe, step, t, tensors):
        latents.append(tensors["latents"].clone())
        return {}

    image = pipe(
        args.prompt, negative_prompt=args.negative, guidance_scale=args.cfg - 1,
        height=args.height, width=args.width, num_inference_steps=args.steps, latents=noise,
        output_type="np", callback_on_step_end=after_step,
    ).images[0]
    text = pipe.tokenizer.apply_chat_template(
        [{"role": "user", "content": args.prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = torch.tensor(pipe.tokenizer(text)["input_ids"])
    embeds = pipe.encode_prompt(args.prompt, do_classifier_free_guidance=False)[0][0].detach()
    return (image * 255).round().astype(np.uint8), ids, embeds, noise, latents


def relative(a, b):
    return ((a.flatten() - b.flatten()).norm() / b.norm()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cli")
    parser.add_argument("model")
    parser.add_argument("-p", "--prompt", default="A calm lake at sunset, snowy mountains, a boat")
    parser.add_argument("-n", "--negative", default="fog")
    parser.add_argument("--cfg", type=float, default=1)
    parser.add_argument("-W", "--width", type=int, default=256)
    parser.add_argument("-H", "--height", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        ours, text, dump = run_safelight(args, Path(folder))
    theirs, ids, embeds, noise, latents = run_diffusers(args)
    print("noise     ", "same bits" if torch.equal(dump["noise"], noise) else "DIFFERS")
    same_ids = torch.equal(text["input_ids"].flatten().long(), ids)
    print("token ids ", "same" if same_ids else "DIFFER", len(ids))
    print(f"embeddings {relative(text['prompt_embeds'], embeds):.2e}")
    errors = [relative(dump[f"step_{i + 1}"], x) for i, x in enumerate(latents)]
    print("latents   ", " ".join(f"{e:.2e}" for e in errors))
    far = np.abs(ours.astype(int) - theirs.astype(int))
    counts = [int((far == d).sum()) for d in range(3)]
    print(f"picture    {counts[0]} values equal, {counts[1]} off by 1, {counts[2]} by 2, worst {far.max()}")
    good = errors[-1] < LATENT_BAR and (far > 1).mean() < PIXEL_BAR and same_ids
    return 0 if good and torch.equal(dump["noise"], noise) else 1


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
