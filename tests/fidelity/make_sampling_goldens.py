#!/usr/bin/env python3
"""Writes the goldens of the noise, schedule and sampler tests into tests/data/.

    python3 tests/fidelity/make_sampling_goldens.py [noise] [schedule] [sampler]

Needs numpy, torch, diffusers and scipy.  What each golden comes from is said in its file's head.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parent.parent / "data"
M32 = np.uint64(0xFFFFFFFF)


def write(name, head, lines):
    text = "".join(f"# {line}\n" for line in head) + "".join(f"{line}\n" for line in lines)
    (DATA / name).write_text(text)
    print(f"{name}: {len(lines)} lines, {len(text)} bytes")


def bits(values):
    return " ".join(f"{v:08x}" for v in np.asarray(values, np.float32).view(np.uint32))


# ---- Noise ----

CPU_DRAWS = [
    (0, [1]), (0, [2]), (0, [15]), (0, [16]), (0, [17]), (0, [31]), (0, [32]), (0, [33]),
    (7, [3, 20, 1, 5, 16, 2]), (7, [15, 15, 15]), (42, [24]), (42, [100]), (42, [623, 1, 625]),
    (1, [4096]), (2**32 - 1, [64]), (2**32, [64]), (2**63 - 1, [64]), (2**64 - 1, [64]),
    (0x123456789ABCDEF0, [9, 64, 9]), (20261122, [16 * 32 * 32]), (5, [16 * 128 * 128]),
    (6, [16 * 128 * 128 + 5, 262144]),
]


def cpu_line(seed, sizes):
    generator = torch.Generator().manual_seed(seed)
    draws = np.concatenate([torch.randn(n, generator=generator).numpy() for n in sizes])
    digest = hashlib.sha256(draws.astype("<f4").tobytes()).hexdigest()
    return f"{seed} {','.join(map(str, sizes))} {digest} {bits(draws[:4])}"


def philox(counter, thread, seed):
    """Philox 4x32-10 of (counter, thread) in the layout of cuRAND; arrays of uint64."""
    w = [counter & M32, counter >> np.uint64(32), thread & M32, thread >> np.uint64(32)]
    k = [np.uint64(seed) & M32, np.uint64(seed) >> np.uint64(32)]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * w[0], np.uint64(0xCD9E8D57) * w[2]
        w = [(b >> np.uint64(32)) ^ w[1] ^ k[0], b & M32, (a >> np.uint64(32)) ^ w[3] ^ k[1], a & M32]
        k = [(k[0] + np.uint64(0x9E3779B9)) & M32, (k[1] + np.uint64(0xBB67AE85)) & M32]
    return w


def check_philox():
    """The known answers that Random123 publishes for philox4x32-10."""
    u = np.uint64
    got = philox(u(0x85A308D3243F6A88), u(0x0370734413198A2E), 0x299F31D0A4093822)
    assert [int(x) for x in got] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    assert [int(x) for x in philox(u(0), u(0), 0)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def cuda_randn(seed, offset, n, max_threads=0):
    """float32 where cuRAND has float32 variables; log and sin in float64, rounded once."""
    f = np.float32
    threads = -(-n // 256) * 256
    if max_threads:
        threads = min(threads, max_threads // 256 * 256)
    i = np.arange(n, dtype=np.uint64)
    run = i // np.uint64(threads)
    w = np.stack(philox(np.uint64(offset) + run // np.uint64(4), i % np.uint64(threads), seed))
    part = (run % np.uint64(4)).astype(int)
    x, y = w[part & 2, np.arange(n)].astype(f), w[(part & 2) + 1, np.arange(n)].astype(f)
    to_turn = f(2.3283064e-10) * f(6.2831855)
    # A product of two float32 and a sum fit float64, so one rounding makes it the fused one.
    u = (x.astype(np.float64) * 2.0**-32 + 2.0**-33).astype(f)
    v = (y.astype(np.float64) * np.float64(to_turn) + np.float64(to_turn / f(2))).astype(f)
    s = np.sqrt(f(-2) * np.log(u.astype(np.float64)).astype(f))
    v = v.astype(np.float64)
    used = (n - 1) // (threads * 4) + 1
    return (s * np.where(part & 1, np.cos(v), np.sin(v)).astype(f)).astype(f), offset + used


def check_cuda_randn():
    """torch.cuda's values for seed 0, as printed in A1111's modules/rng_philox.py."""
    want = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
            -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]
    assert np.allclose(cuda_randn(0, 0, 12)[0], want, rtol=2e-6, atol=0)


def cuda_line(seed, sizes, max_threads):
    offset, parts = 0, []
    for n in sizes:
        values, offset = cuda_randn(seed, offset, n, max_threads)
        parts.append(values)
    values = np.concatenate(parts)
    picked = np.unique(np.linspace(0, len(values) - 1, 24).astype(int))
    pairs = " ".join(f"{i}:{values[i].view(np.uint32):08x}" for i in picked)
    return f"{seed} {max_threads} {','.join(map(str, sizes))} {pairs}"


def make_noise():
    check_philox()
    check_cuda_randn()
    write("noise-cpu.txt",
          [f"torch {torch.__version__.split('+')[0]}, {torch.backends.cpu.get_cpu_capability()}: "
           "seed, sizes of consecutive torch.randn, SHA-256 of all values, first bits"],
          [cpu_line(*draw) for draw in CPU_DRAWS])
    # 196608 threads: an RTX 4090 (128 x 1536); 270336: an H200 (132 x 2048).
    draws = [(0, [12], 0), (0, [4, 4, 4], 0), (2**64 - 1, [1000], 0), (2**40 + 3, [16384, 16384], 0),
             (5, [262144], 0), (5, [262144, 12], 196608), (5, [1048576, 12], 196608),
             (9, [1048576, 262144], 270336)]
    write("noise-cuda.txt",
          ["From the formula, in numpy (make_sampling_goldens.py), not from a GPU: seed, most threads,",
           "sizes of consecutive draws, index:bits of some values of all draws in a row"],
          [cuda_line(*draw) for draw in draws])


# ---- Schedules ----


def line(*fields):
    return " ".join(f"{f:.9g}" if isinstance(f, float) else str(f) for f in fields)


def shifted(t, shift):
    return shift * t / (1 + (shift - 1) * t)


def diffusers_sigmas(n, **config):
    """What diffusers' ZImagePipeline asks its scheduler for."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    tokens = config.pop("tokens", None)
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    c = scheduler.config
    mu = None
    if tokens:
        slope = (c.max_shift - c.base_shift) / (c.max_image_seq_len - c.base_image_seq_len)
        mu = tokens * slope + c.base_shift - slope * c.base_image_seq_len
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / n, n), mu=mu)
    return scheduler.sigmas.numpy()


def comfy_sigmas(schedule, n, shift):
    """ComfyUI's rules, written down again in float64, for the flow models' table of 1000 sigmas."""
    from scipy.stats import beta

    table = shifted(np.arange(1, 1001) / 1000, shift)
    if schedule == "sgm_uniform":
        sigmas = shifted(np.linspace(1, table[0], n + 1)[:-1], shift)
    elif schedule == "karras":
        ramp = np.linspace(0, 1, n)
        sigmas = (1 + ramp * (table[0] ** (1 / 7) - 1)) ** 7
    elif schedule == "exponential":
        sigmas = np.exp(np.linspace(0, np.log(table[0]), n))
    elif schedule == "beta":
        at = np.rint(beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * 999).astype(int)
        sigmas = table[[t for i, t in enumerate(at) if i == 0 or t != at[i - 1]]]
    return np.append(sigmas, 0)


def sdcpp_discrete(n, shift):
    """stable-diffusion.cpp: t from 999 to 0, sigma of t is the shifted (t + 1) / 1000."""
    return np.append(shifted((np.linspace(999, 0, n) + 1) / 1000, shift), 0)


def make_schedule():
    from scipy.stats import beta

    # Fields: schedule, interpolation, steps, shift, terminal, tokens, then the sigmas.
    lines = []
    for n, shift in [(1, 3.0), (2, 3.0), (7, 3.0), (8, 3.0), (8, 1.0), (20, 6.0), (150, 3.0), (9, 0.5)]:
        lines.append(line("simple", "-", n, shift, 0, 0, *map(float, diffusers_sigmas(n, shift=shift))))
    for kind in ("karras", "exponential", "beta"):
        for n, shift in [(1, 3.0), (2, 3.0), (8, 3.0), (30, 1.0)]:
            sigmas = diffusers_sigmas(n, shift=shift, **{f"use_{kind}_sigmas": True})
            lines.append(line("simple", kind, n, shift, 0, 0, *map(float, sigmas)))
    sigmas = diffusers_sigmas(8, shift=3.0, shift_terminal=0.1)
    lines.append(line("simple", "-", 8, 3.0, 0.1, 0, *map(float, sigmas)))
    sigmas = diffusers_sigmas(8, shift=3.0, shift_terminal=0.1, use_karras_sigmas=True)
    lines.append(line("simple", "karras", 8, 3.0, 0.1, 0, *map(float, sigmas)))
    for kind in ("exponential", "linear"):
        for tokens in (256, 1024, 4096, 9216):
            sigmas = diffusers_sigmas(8, use_dynamic_shifting=True, tokens=tokens, time_shift_type=kind)
            lines.append(line("simple", kind, 8, 0, 0, tokens, *map(float, sigmas)))
    for kind in ("sgm_uniform", "karras", "exponential", "beta"):
        for n, shift in [(1, 3.0), (2, 3.0), (8, 3.0), (20, 1.0), (25, 6.0), (300, 3.0)]:
            if n < 300 or kind == "beta":
                lines.append(line(kind, "-", n, shift, 0, 0, *map(float, comfy_sigmas(kind, n, shift))))
    for n, shift in [(1, 3.0), (2, 3.0), (8, 3.0), (9, 3.0), (20, 1.0)]:
        lines.append(line("discrete", "-", n, shift, 0, 0, *map(float, sdcpp_discrete(n, shift))))
    write("schedule.txt",
          ["schedule, interpolation (dynamic shift: its type), steps, shift, terminal, tokens, sigmas.",
           "simple: diffusers' FlowMatchEulerDiscreteScheduler; others: make_sampling_goldens.py"],
          lines)
    points = [(p, a, b) for a, b in [(0.6, 0.6), (0.5, 2.0), (3.0, 1.5)]
              for p in (1e-6, 0.001, 0.05, 0.3, 0.5, 0.7, 0.99, 1 - 1e-6)]
    write("beta-quantile.txt", ["scipy.stats.beta.ppf: p, a, b, x"],
          [f"{p!r} {a} {b} {float(beta.ppf(p, a, b))!r}" for p, a, b in points])


# ---- Samplers ----
#
# The network is exact for data that are -1 or 1 with a spread of 0.5: what it should estimate is
# known, and it is not linear in x, so that a wrong rule shows.


def estimate(x, s):
    var = (1 - s) ** 2 / 4 + s**2
    sign = np.tanh((1 - s) * x / var)
    return sign + (1 - s) / 4 / var * (x - (1 - s) * sign)


def noise_of(step):
    return np.sin(1.0 + 3 * step + np.arange(4))


def rules(sampler, sigmas, x):
    """k-diffusion's and ComfyUI's update rules, each as it is published; x after every step."""
    before, seen = None, []
    for i, (s, n) in enumerate(zip(sigmas[:-1], sigmas[1:])):
        d = estimate(x, s)
        slope = (x - d) / s
        if n == 0 and sampler != "lcm":
            x = x + slope * (n - s)
        elif sampler == "euler":
            x = x + slope * (n - s)
        elif sampler == "heun":
            x2 = x + slope * (n - s)
            x = x + (slope + (x2 - estimate(x2, n)) / n) / 2 * (n - s)
        elif sampler == "dpm++2m":
            t, t_next = -np.log(s), -np.log(n)
            h, mixed = t_next - t, d
            if before is not None:
                r = (t + np.log(sigmas[i - 1])) / h
                mixed = (1 + 1 / (2 * r)) * d - 1 / (2 * r) * before
            x = n / s * x - np.expm1(-h) * mixed
        elif sampler == "res_multistep":
            if before is None:
                x = x + slope * (n - s)
            else:
                h = np.log(s / n)
                c2 = (-np.log(sigmas[i - 1]) + np.log(s)) / h
                phi1 = np.expm1(-h) / -h
                phi2 = (phi1 - 1) / -h
                x = np.exp(-h) * x + h * ((phi1 - phi2 / c2) * d + phi2 / c2 * before)
        elif sampler == "lcm":
            x = n * noise_of(i) + (1 - n) * d
        elif sampler == "euler_a":
            down = n * (1 + (n / s - 1))
            renoise = np.sqrt(n**2 - down**2 * (1 - n) ** 2 / (1 - down) ** 2)
            x = down / s * x + (1 - down / s) * d
            x = (1 - n) / (1 - down) * x + noise_of(i) * renoise
        before = d
        seen.append(x)
    return seen


def run_diffusers(scheduler, sigmas, x):
    """Steps a diffusers scheduler over given sigmas with the network above."""
    x = torch.from_numpy(x).double()
    for t in scheduler.timesteps:
        sigma = float(t) / 1000
        out = (x - torch.from_numpy(estimate(x.numpy(), sigma))) / sigma
        x = scheduler.step(out, t, x).prev_sample
    return x.numpy()


def check_against_diffusers(x):
    from diffusers import (DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler,
                           FlowMatchHeunDiscreteScheduler)

    euler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    euler.set_timesteps(sigmas=np.linspace(1, 1 / 8, 8))
    sigmas = euler.sigmas.double().numpy()
    assert np.allclose(run_diffusers(euler, sigmas, x), rules("euler", sigmas, x)[-1], atol=1e-5)
    heun = FlowMatchHeunDiscreteScheduler(shift=3.0)
    heun.set_timesteps(8)
    sigmas = np.append(heun.sigmas.double().numpy()[:-1:2], 0)
    assert len(sigmas) == 9
    assert np.allclose(run_diffusers(heun, sigmas, x), rules("heun", sigmas, x)[-1], atol=1e-5)
    # diffusers' DPM-Solver++ works over log ((1 - sigma) / sigma) and starts below 1: other numbers
    # than ComfyUI's at order 2, the same at order 1, where both are Euler's.
    dpm = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction",
                                      flow_shift=3.0, solver_order=1)
    dpm.set_timesteps(8)
    sigmas = dpm.sigmas.double().numpy()
    dpm.timesteps = dpm.sigmas[:-1] * 1000
    assert np.allclose(run_diffusers(dpm, sigmas, x), rules("euler", sigmas, x)[-1], atol=1e-5)


def make_sampler():
    x = np.array([-1.5, -0.3, 0.4, 2.0])
    check_against_diffusers(x)
    lines = []
    for sampler in ("euler", "heun", "dpm++2m", "res_multistep", "lcm", "euler_a"):
        for steps, shift in [(1, 3.0), (2, 3.0), (8, 3.0), (5, 1.0)]:
            t = np.linspace(1, 1 / steps, steps)
            after = rules(sampler, np.append(shifted(t, shift), 0), x)
            lines.append(line(sampler, steps, shift, *map(float, np.concatenate(after))))
    write("sampler.txt",
          ["From the published rules in numpy (make_sampling_goldens.py), Euler, Heun checked with",
           "diffusers: sampler, steps, shift, four values of x after each step"], lines)


PARTS = {"noise": make_noise, "schedule": make_schedule, "sampler": make_sampler}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
