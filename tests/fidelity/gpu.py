#!/usr/bin/env python3
"""Compares the GPU's pictures with a float32 run of the reference, beside diffusers' own bfloat16.

    python3 tests/bench/random_checkpoint.py /tmp/ckpt
    python3 tests/fidelity/gpu.py _build/app/safelight-cli /tmp/ckpt resources/starter/model

Full size (needs torch, diffusers, transformers and a GPU of 80 GB or more): the reference is what
diffusers' and transformers' classes make of the checkpoint's bfloat16 weights in float32, TF32 off.
Both bfloat16 runs, diffusers' and ours, are measured by |x - reference| / |reference|, and ours may be no
further off.  Ours comes from one process of safelight-cli that makes the same picture twice, which
must be the same bits.

  text       the encoder's output for the same token ids
  velocity   one forward of the transformer from the same latents and the same embeddings (ours), at
             the first, a middle and the last step
  latents    after all steps, from the same noise, each with its own embeddings
  picture    the VAE's, from the same latents; all in 8 bits, since a PNG is what we have

Then the starter model: pictures on GPU and CPU, PSNR over 45 dB (beside it that of diffusers' bfloat16
against its float32), and the same bits when repeated in another process.  Prints a table, writes it with --json; fails when anything is worse than its bar."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT = (
    "A small wooden boat on a calm lake below snowy mountains in the evening light, a red lighthouse "
    "on the shore, clouds lit from below, gentle waves, birds above the water, a village with lights "
    "in its windows far away, painted with broad strokes and soft colours, wide view, no people"
)
STARTER_PROMPTS = ["a red lighthouse by the sea at night, full moon", "rolling hills by day with clouds"]
PSNR_BAR = 45.0


def start_ours(args, folder, noise):
    """One process, two pictures from the same noise."""
    command = [args.cli, "generate", "--json", "--device", args.device, "-m", args.checkpoint, "-p", PROMPT]
    command += ["-W", str(args.size), "-H", str(args.size), "--steps", str(args.steps), "-s", "1"]
    command += ["--init-latents", noise, "--dump-latents", folder / "latents-%d.safetensors", "-b", "2"]
    command += ["--dump-embeddings", folder / "text-%d.safetensors", "-o", folder / "picture-%d.png"]
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)


def pixels(path):
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB")).astype(np.float64)


def psnr(a, b):
    import numpy as np

    mean = ((a - b) ** 2).mean()
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))


class Table:
    def __init__(self):
        self.rows, self.good = [], True

    def add(self, name, theirs, ours, higher_is_better=False):
        good = ours >= theirs if higher_is_better else ours <= theirs
        self.put(name, theirs, ours, good)

    def put(self, name, theirs, ours, good):
        # NaN compares as False, so it never passes.
        self.good &= bool(good)
        self.rows.append(dict(name=name, diffusers_bf16=theirs, ours=ours, good=bool(good)))
        cell = lambda x: x if isinstance(x, str) else f"{x:.4g}"
        print(f"| {name} | {cell(theirs)} | {cell(ours)} | {'yes' if good else 'NO'} |", flush=True)


# ---- The reference ----


def load_state(folder, strip=""):
    from safetensors.torch import load_file

    state = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        state |= load_file(path, device=TORCH_DEVICE)
    return {name.removeprefix(strip): value for name, value in state.items()}


def build(make, state):
    """The module with these tensors as its parameters; what it computed for itself stays float32."""
    import torch

    with torch.device(TORCH_DEVICE):
        module = make()
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def relative(a, b):
    a, b = a.double().flatten(), b.double().flatten()
    return ((a - b).norm() / b.norm()).item()


def both(run, module):
    """run's result in bfloat16, then in float32 with the same weights."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    low = run(module, torch.bfloat16)
    module.float()
    with sdpa_kernel(SDPBackend.MATH):
        return low, run(module, torch.float32)


def check_text(args, table, text):
    from transformers import AutoTokenizer, Qwen3Config, Qwen3Model

    folder = Path(args.checkpoint) / "text_encoder"
    tokenizer = AutoTokenizer.from_pretrained(Path(args.checkpoint) / "tokenizer")
    wrapped = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], tokenize=False, add_generation_prompt=True
    )
    ids = text["input_ids"].flatten().long()
    table.put(f"token ids ({len(ids)})", "", "same", tokenizer(wrapped)["input_ids"] == ids.tolist())
    config = Qwen3Config.from_pretrained(folder)
    module = build(lambda: Qwen3Model(config), load_state(folder, "model."))
    states = lambda m, dtype: m(
        input_ids=ids[None].to(TORCH_DEVICE), output_hidden_states=True
    ).hidden_states[-2][0]
    low, reference = both(states, module)
    table.add("text", relative(low, reference), relative(text["prompt_embeds"].to(reference), reference))
    print(f"  (spread of the text's features: {reference.std():.3g})")
    return low, reference


def sigmas_of(args):
    import torch

    s = torch.linspace(1, 1 / args.steps, args.steps, dtype=torch.float64)
    return torch.cat([3 * s / (1 + 2 * s), torch.zeros(1, dtype=torch.float64)]).tolist()


def velocity(module, dtype, x, sigma, embeds):
    """As diffusers' ZImagePipeline calls it: latents and text in the module's type."""
    import torch

    t = torch.tensor([1 - sigma], dtype=torch.float32, device=TORCH_DEVICE)
    out = module([x[0].to(dtype)[:, None]], t, [embeds.to(dtype)], return_dict=False)[0]
    return -out[0].float()[:, 0][None]


def run_steps(module, dtype, x, sigmas, embeds):
    for now, after in zip(sigmas, sigmas[1:]):
        x = x + (after - now) * velocity(module, dtype, x, now, embeds)
    return x


def check_transformer(args, table, dump, embeds):
    from diffusers import ZImageTransformer2DModel

    folder = Path(args.checkpoint) / "transformer"
    config = ZImageTransformer2DModel.load_config(folder)
    module = build(lambda: ZImageTransformer2DModel.from_config(config), load_state(folder))
    sigmas = sigmas_of(args)
    x = [dump["noise"]] + [dump[f"step_{i + 1}"] for i in range(args.steps)]
    x = [latents.to(TORCH_DEVICE) for latents in x]
    picked = sorted({0, args.steps // 2, args.steps - 1})

    def run(m, dtype):
        own = embeds["diffusers" if dtype != embeds["reference"].dtype else "reference"]
        ours = [velocity(m, dtype, x[i], sigmas[i], embeds["ours"]) for i in picked]
        return ours + [run_steps(m, dtype, x[0], sigmas, own)]

    low, reference = both(run, module)
    for i, a, b in zip(picked, low, reference):
        ours = (x[i + 1].double() - x[i].double()) / (sigmas[i + 1] - sigmas[i])
        table.add(f"velocity, step {i + 1}", relative(a, b), relative(ours, b))
    table.add(f"latents after {args.steps} steps", relative(low[-1], reference[-1]),
              relative(x[-1], reference[-1]))
    print(f"  (spread of the velocity: {reference[0].std():.3g}, of the last latents: {reference[-1].std():.3g})")


def check_vae(args, table, dump, path):
    import numpy as np
    import torch
    from diffusers import AutoencoderKL

    folder = Path(args.checkpoint) / "vae"
    config = AutoencoderKL.load_config(folder)
    module = build(lambda: AutoencoderKL.from_config(config), load_state(folder))
    latents = dump[f"step_{args.steps}"].to(TORCH_DEVICE)

    def run(m, dtype):
        y = latents.to(dtype) / m.config.scaling_factor + m.config.shift_factor
        return m.decode(y, return_dict=False)[0]

    def to_pixels(y):
        y = (y / 2 + 0.5).clamp(0, 1).float()[0].permute(1, 2, 0) * 255
        return torch.round(y).double().cpu().numpy()

    low, reference = both(run, module)
    exact = (reference[0].double().permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).mul(255).cpu().numpy()
    ours, theirs = pixels(path), to_pixels(low)
    off = lambda a: float(np.linalg.norm(a - exact) / np.linalg.norm(exact - exact.mean()))
    table.add("picture, relative to its contrast", off(theirs), off(ours))
    table.add("picture, PSNR (dB)", psnr(theirs, exact), psnr(ours, exact), higher_is_better=True)
    print(f"  (8 bits alone: {off(np.round(exact)):.3g}; at the ends of the range: "
          f"{((exact <= 0) | (exact >= 255)).mean():.2%}; bf16 before 8 bits: {relative(low, reference):.3g})")


def check_full(args, table, folder):
    import torch
    from safetensors.torch import load_file, save_file

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    channels = json.loads((Path(args.checkpoint) / "transformer/config.json").read_text())["in_channels"]
    shape = [1, channels, args.size // 8, args.size // 8]
    save_file({"noise": torch.randn(shape, generator=torch.Generator().manual_seed(5))}, folder / "noise.safetensors")
    process = start_ours(args, folder, folder / "noise.safetensors")
    import diffusers  # noqa: F401 - takes seconds; ours runs meanwhile

    told = process.communicate()[0].splitlines()
    if process.returncode:
        sys.exit(f"safelight-cli failed: {process.returncode}")
    for line in told:
        made = json.loads(line)
        print(f"  (ours: {made['seconds']:.2f} s, text {made['text_ms']:.1f}, denoise {made['denoise_ms']:.1f}, "
              f"decode {made['decode_ms']:.1f} ms)")
    dumps = [load_file(folder / f"latents-{i}.safetensors") for i in (1, 2)]
    texts = [load_file(folder / f"text-{i}.safetensors") for i in (1, 2)]
    pictures = [folder / f"picture-{i}.png" for i in (1, 2)]
    same = all(torch.equal(dumps[0][k], dumps[1][k]) for k in dumps[0])
    same &= bool((pixels(pictures[0]) == pixels(pictures[1])).all())
    table.put("repeated: the same bits", "", "yes" if same else "no", same)

    low, reference = check_text(args, table, texts[0])
    embeds = dict(ours=texts[0]["prompt_embeds"][0, 0].to(TORCH_DEVICE), diffusers=low, reference=reference)
    check_transformer(args, table, dumps[0], embeds)
    if TORCH_DEVICE == "cuda":
        torch.cuda.empty_cache()
    check_vae(args, table, dumps[0], pictures[0])


# ---- The starter model ----


def make_starter(args, folder, device, name, size):
    pictures = []
    for i, prompt in enumerate(STARTER_PROMPTS):
        path = folder / f"{name}-{size}-{i}-%d.png"
        command = [args.cli, "generate", "--quiet", "--device", device, "-m", args.starter, "-p", prompt, "-b", "2"]
        command += ["-W", str(size), "-H", str(size), "-s", "7", "-o", str(path)]
        subprocess.run([str(c) for c in command], check=True)
        pictures += [pixels(str(path) % n) for n in (1, 2)]
    return pictures


def diffusers_starter(args, size, dtype):
    """The same pictures by diffusers: prompts and seeds as in make_starter."""
    import torch
    from diffusers import ZImagePipeline

    pipe = ZImagePipeline.from_pretrained(args.starter, dtype=dtype).to(TORCH_DEVICE)
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for prompt in STARTER_PROMPTS:
        for seed in (7, 8):
            noise = torch.Generator().manual_seed(seed)
            made = pipe(prompt, height=size, width=size, num_inference_steps=8, guidance_scale=0.0, generator=noise,
                        output_type="np").images[0]
            pictures.append((made.astype("float64") * 255).round())
    return pictures


def check_starter(args, table, folder):
    import torch

    for size in (256, 512):
        gpu = make_starter(args, folder, args.device, "gpu", size)
        again = make_starter(args, folder, args.device, "again", size)
        cpu = make_starter(args, folder, "cpu", "cpu", size)
        same = all((a == b).all() for a, b in zip(gpu, again))
        ours = [psnr(a, b) for a, b in zip(gpu, cpu)]
        exact = diffusers_starter(args, size, torch.float32)
        theirs = [psnr(a, b) for a, b in zip(diffusers_starter(args, size, torch.bfloat16), exact)]
        table.put(f"starter {size}, GPU against float32, worst PSNR of {len(gpu)} (bar {PSNR_BAR:g} dB)", min(theirs),
                  min(ours), min(ours) > PSNR_BAR)
        told = lambda values: " ".join(f"{x:.1f}" for x in values)
        print(f"  (ours {told(ours)}; diffusers' bfloat16 {told(theirs)}; our float32 against diffusers' "
              f"{told(psnr(a, b) for a, b in zip(cpu, exact))})")
        table.put(f"starter {size}, repeated: the same bits", "", "yes" if same else "no", same)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cli")
    parser.add_argument("checkpoint")
    parser.add_argument("starter", nargs="?")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cuda", help="cpu tries this program on a tiny checkpoint")
    parser.add_argument("--starter-only", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    global TORCH_DEVICE
    TORCH_DEVICE = args.device

    begin, table = time.perf_counter(), Table()
    print("| | diffusers bf16 | ours | as good |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        import torch

        with torch.no_grad():
            if not args.starter_only:
                check_full(args, table, Path(folder))
        if args.starter:
            check_starter(args, table, Path(folder))
    print(f"{time.perf_counter() - begin:.1f} s; {'all as good' if table.good else 'NOT all as good'}")
    if args.json:
        import diffusers
        import transformers

        versions = dict(torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__)
        args.json.write_text(json.dumps(dict(size=args.size, steps=args.steps, rows=table.rows, versions=versions),
                                        indent=1) + "\n")
    return 0 if table.good else 1


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
