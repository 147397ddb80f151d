"""painter.py - compiles painter.h for the device at hand and paints display lists with it."""

import ctypes
import os
import subprocess
import tempfile

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
_libraries = {}


def _library(cuda):
    if cuda in _libraries:
        return _libraries[cuda]
    name = "painter_%s_%d.so" % ("gpu" if cuda else "cpu", os.getuid())
    target, source = os.path.join(tempfile.gettempdir(), name), os.path.join(HERE, "painter.h")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        if cuda:
            command = ["nvcc", "-x", "cu", "-O3", "-use_fast_math", "-arch=native"]
            command += ["-shared", "-Xcompiler", "-fPIC"]
        else:
            command = ["gcc", "-x", "c", "-O3", "-ffast-math", "-march=native", "-fopenmp"]
            command += ["-shared", "-fPIC"]
        part = "%s.%d" % (target, os.getpid())
        subprocess.run(command + [source, "-o", part] + ([] if cuda else ["-lm"]), check=True)
        os.replace(part, target)
    library = ctypes.CDLL(target)
    library.paint.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 5 + [ctypes.c_void_p]
    _libraries[cuda] = library
    return library


def paint(lists, height, width, device="cpu", ss=3):
    """Pictures [count, 3, height, width] of display lists (float32 arrays [n, RECORD])."""
    lengths = [len(x) for x in lists]
    first = torch.from_numpy(np.cumsum([0] + lengths).astype(np.int32)).to(device)
    records = torch.from_numpy(np.concatenate(lists).astype(np.float32)).to(device)
    out = torch.empty(len(lists), 3, height, width, device=device)
    cuda = out.is_cuda
    stream = torch.cuda.current_stream().cuda_stream if cuda else None
    code = _library(cuda).paint(
        records.data_ptr(),
        first.data_ptr(),
        out.data_ptr(),
        len(lists),
        max(lengths),
        height,
        width,
        ss,
        stream,
    )
    if code:
        raise RuntimeError("paint: CUDA error %d" % code)
    return out.clamp_(0, 1)


def sheet(pictures, columns, path, gap=4):
    """Writes pictures [n, 3, h, w] in 0..1 as one contact sheet."""
    from PIL import Image

    n, _, h, w = pictures.shape
    rows = (n + columns - 1) // columns
    grid = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), 255, np.uint8)
    pixels = (pictures.clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).cpu().numpy()
    for i in range(n):
        y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        grid[y : y + h, x : x + w] = pixels[i]
    Image.fromarray(grid).save(path, quality=90)
