"""kernels.py - the memory-bound parts of a transformer block as fused Triton kernels.

A block of width 192 spends most of its time moving activations, so each of these reads and writes
them once: gated residual + RMSNorm + modulation, q/k RMSNorm + RoPE, and the SiLU gate.  On a CPU
the same functions are written out in PyTorch; TRITON_INTERPRET=1 runs the kernels there too.
"""

import os

import torch
import torch.nn.functional as F

INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

EPS = 1e-5
ROWS, CHUNK, WARPS = 8, 32, 8  # rows of a tile, rows of a program, warps: one for each row


def fused(x):
    return triton is not None and (x.is_cuda or INTERPRET)


if triton is not None:

    @triton.jit
    def norm_forward(
        x_ptr,
        y_ptr,
        g_ptr,
        wn_ptr,
        s_ptr,
        w_ptr,
        xo_ptr,
        a_ptr,
        S,
        g_row,
        s_row,
        eps,
        D: tl.constexpr,
        BD: tl.constexpr,
        BR: tl.constexpr,
        CH: tl.constexpr,
        HAS_Y: tl.constexpr,
        HAS_A: tl.constexpr,
    ):
        b, c = tl.program_id(0), tl.program_id(1)
        cols = tl.arange(0, BD)
        inside = cols < D
        if HAS_Y:
            g = (
                2 * tl.sigmoid(2 * tl.load(g_ptr + b * g_row + cols, inside, 0.0).to(tl.float32))
                - 1
            )
            gate = g * tl.load(wn_ptr + cols, inside, 0.0).to(tl.float32)
        if HAS_A:
            s = tl.load(s_ptr + b * s_row + cols, inside, 0.0).to(tl.float32)
            k = (1 + s) * tl.load(w_ptr + cols, inside, 0.0).to(tl.float32)
        for i in range(CH // BR):
            rows = c * CH + i * BR + tl.arange(0, BR)
            m = (rows < S)[:, None] & inside[None, :]
            at = (b * S + rows)[:, None] * D + cols[None, :]
            x = tl.load(x_ptr + at, m, 0.0).to(tl.float32)
            if HAS_Y:
                y = tl.load(y_ptr + at, m, 0.0).to(tl.float32)
                r = tl.rsqrt(tl.sum(y * y, 1) / D + eps)
                xo = (x + y * r[:, None] * gate[None, :]).to(xo_ptr.dtype.element_ty)
                tl.store(xo_ptr + at, xo, m)
                x = xo.to(tl.float32)
            if HAS_A:
                r = tl.rsqrt(tl.sum(x * x, 1) / D + eps)
                tl.store(a_ptr + at, (x * r[:, None] * k[None, :]).to(a_ptr.dtype.element_ty), m)

    @triton.jit
    def norm_backward(
        x_ptr,
        y_ptr,
        g_ptr,
        wn_ptr,
        s_ptr,
        w_ptr,
        dxo_ptr,
        da_ptr,
        dx_ptr,
        dy_ptr,
        dg_ptr,
        ds_ptr,
        S,
        g_row,
        s_row,
        eps,
        NC,
        D: tl.constexpr,
        BD: tl.constexpr,
        BR: tl.constexpr,
        CH: tl.constexpr,
        HAS_Y: tl.constexpr,
        HAS_A: tl.constexpr,
    ):
        b, c = tl.program_id(0), tl.program_id(1)
        cols = tl.arange(0, BD)
        inside = cols < D
        sum_g = tl.zeros([BR, BD], tl.float32)  # reduced over rows once, at the end
        sum_s = tl.zeros([BR, BD], tl.float32)
        if HAS_Y:
            g = (
                2 * tl.sigmoid(2 * tl.load(g_ptr + b * g_row + cols, inside, 0.0).to(tl.float32))
                - 1
            )
            wn = tl.load(wn_ptr + cols, inside, 0.0).to(tl.float32)
        if HAS_A:
            s = tl.load(s_ptr + b * s_row + cols, inside, 0.0).to(tl.float32)
            w = tl.load(w_ptr + cols, inside, 0.0).to(tl.float32)
        for i in range(CH // BR):
            rows = c * CH + i * BR + tl.arange(0, BR)
            m = (rows < S)[:, None] & inside[None, :]
            at = (b * S + rows)[:, None] * D + cols[None, :]
            if HAS_Y:
                dx = tl.load(dxo_ptr + at, m, 0.0).to(tl.float32)
            else:
                dx = tl.zeros([BR, BD], tl.float32)
            if HAS_A:
                x = tl.load(x_ptr + at, m, 0.0).to(tl.float32)
                da = tl.load(da_ptr + at, m, 0.0).to(tl.float32)
                r = tl.rsqrt(tl.sum(x * x, 1) / D + eps)[:, None]
                xh = x * r
                sum_s += da * xh
                t = da * ((1 + s) * w)[None, :]
                dx += r * (t - xh * (tl.sum(t * xh, 1) / D)[:, None])
            tl.store(dx_ptr + at, dx.to(dx_ptr.dtype.element_ty), m)
            if HAS_Y:
                y = tl.load(y_ptr + at, m, 0.0).to(tl.float32)
                r = tl.rsqrt(tl.sum(y * y, 1) / D + eps)[:, None]
                yh = y * r
                sum_g += dx * yh
                t = dx * (g * wn)[None, :]
                dy = r * (t - yh * (tl.sum(t * yh, 1) / D)[:, None])
                tl.store(dy_ptr + at, dy.to(dy_ptr.dtype.element_ty), m)
        if HAS_Y:
            tl.store(dg_ptr + (b * NC + c) * D + cols, tl.sum(sum_g, 0) * wn * (1 - g * g), inside)
        if HAS_A:
            tl.store(ds_ptr + (b * NC + c) * D + cols, tl.sum(sum_s, 0) * w, inside)

    @triton.jit
    def rope_forward(
        qkv_ptr,
        cos_ptr,
        sin_ptr,
        w_ptr,
        out_ptr,
        rows_total,
        S,
        eps,
        H: tl.constexpr,
        BR: tl.constexpr,
    ):
        """program (chunk of rows, 0 q / 1 k / 2 v); out is [3, rows, H, 64]"""
        part = tl.program_id(1)
        rows = tl.program_id(0) * BR + tl.arange(0, BR)
        cols = tl.arange(0, 64)
        m = (rows < rows_total)[:, None] & (cols >= 0)[None, :]
        half = tl.arange(0, 32)
        place = (rows % S)[:, None] * 32 + half[None, :]
        base = out_ptr + part.to(tl.int64) * rows_total * H * 64
        c, s = tl.load(cos_ptr + place), tl.load(sin_ptr + place)
        w = tl.load(w_ptr + part % 2 * 64 + cols).to(tl.float32)
        for h in range(H):
            x = tl.load(
                qkv_ptr + (rows[:, None] * 3 + part) * (H * 64) + h * 64 + cols[None, :], m, 0.0
            )
            if part < 2:
                y = x.to(tl.float32)
                y = y * tl.rsqrt(tl.sum(y * y, 1) / 64 + eps)[:, None] * w[None, :]
                e, o = tl.split(tl.reshape(y, (BR, 32, 2)))
                y = tl.reshape(tl.join(e * c - o * s, e * s + o * c), (BR, 64))
                x = y.to(out_ptr.dtype.element_ty)
            tl.store(base + rows[:, None] * (H * 64) + h * 64 + cols[None, :], x, m)

    @triton.jit
    def rope_backward(
        qkv_ptr,
        cos_ptr,
        sin_ptr,
        w_ptr,
        dq_ptr,
        dk_ptr,
        dv_ptr,
        dqkv_ptr,
        dw_ptr,
        rows_total,
        S,
        eps,
        H: tl.constexpr,
        BR: tl.constexpr,
    ):
        part = tl.program_id(1)
        rows = tl.program_id(0) * BR + tl.arange(0, BR)
        cols = tl.arange(0, 64)
        m = (rows < rows_total)[:, None] & (cols >= 0)[None, :]
        half = tl.arange(0, 32)
        place = (rows % S)[:, None] * 32 + half[None, :]
        sum_w = tl.zeros([64], tl.float32)
        d_ptr = dq_ptr
        if part == 1:
            d_ptr = dk_ptr
        if part == 2:
            d_ptr = dv_ptr
        c, s = tl.load(cos_ptr + place), tl.load(sin_ptr + place)
        w = tl.load(w_ptr + part % 2 * 64 + cols).to(tl.float32)
        for h in range(H):
            at = (rows[:, None] * 3 + part) * (H * 64) + h * 64 + cols[None, :]
            d = tl.load(d_ptr + rows[:, None] * (H * 64) + h * 64 + cols[None, :], m, 0.0)
            if part < 2:
                x = tl.load(qkv_ptr + at, m, 0.0).to(tl.float32)
                r = tl.rsqrt(tl.sum(x * x, 1) / 64 + eps)[:, None]
                xh = x * r
                de, do = tl.split(tl.reshape(d.to(tl.float32), (BR, 32, 2)))
                t = tl.reshape(tl.join(de * c + do * s, do * c - de * s), (BR, 64))
                sum_w += tl.sum(t * xh, 0)
                t = t * w[None, :]
                d = (r * (t - xh * (tl.sum(t * xh, 1) / 64)[:, None])).to(dqkv_ptr.dtype.element_ty)
            tl.store(dqkv_ptr + at, d, m)
        if part < 2:
            tl.store(dw_ptr + (tl.program_id(0) * 2 + part) * 64 + cols, sum_w)

    @triton.jit
    def gate_forward(x_ptr, out_ptr, R, N: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr):
        rows, cols = tl.program_id(0) * BR + tl.arange(0, BR), tl.arange(0, BN)
        m = (rows < R)[:, None] & (cols < N)[None, :]
        at = rows[:, None] * (2 * N) + cols[None, :]
        a = tl.load(x_ptr + at, m, 0.0).to(tl.float32)
        b = tl.load(x_ptr + at + N, m, 0.0).to(tl.float32)
        out = (a * tl.sigmoid(a) * b).to(out_ptr.dtype.element_ty)
        tl.store(out_ptr + rows[:, None] * N + cols[None, :], out, m)

    @triton.jit
    def gate_backward(x_ptr, d_ptr, dx_ptr, R, N: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr):
        rows, cols = tl.program_id(0) * BR + tl.arange(0, BR), tl.arange(0, BN)
        m = (rows < R)[:, None] & (cols < N)[None, :]
        at = rows[:, None] * (2 * N) + cols[None, :]
        a = tl.load(x_ptr + at, m, 0.0).to(tl.float32)
        b = tl.load(x_ptr + at + N, m, 0.0).to(tl.float32)
        d = tl.load(d_ptr + rows[:, None] * N + cols[None, :], m, 0.0).to(tl.float32)
        s = tl.sigmoid(a)
        tl.store(dx_ptr + at, (d * b * s * (1 + a * (1 - s))).to(dx_ptr.dtype.element_ty), m)
        tl.store(dx_ptr + at + N, (d * a * s).to(dx_ptr.dtype.element_ty), m)


def _norm_sizes(x):
    B, S, D = x.shape
    return (
        B,
        S,
        D,
        triton.cdiv(S, CHUNK),
        dict(D=D, BD=triton.next_power_of_2(D), BR=ROWS, CH=CHUNK, num_warps=WARPS),
    )


class GatedNorm(torch.autograd.Function):
    """(x, y, g, s) -> x' = x + tanh (g) * rms (y) * wn and a = rms (x') * w * (1 + s).
    x, y [B, S, D]; g, s [B, D]; without y, x' is x and is not returned; without s there is no a.
    The norms' own weights wn, w get no gradient: the modulation's biases do the same work."""

    @staticmethod
    def forward(ctx, x, y, g, wn, s, w):
        B, S, D, nc, sizes = _norm_sizes(x)
        xo = torch.empty_like(x) if y is not None else x
        a = torch.empty_like(x) if s is not None else None
        dummy = x
        norm_forward[(B, nc)](
            x,
            y if y is not None else dummy,
            g if g is not None else dummy,
            wn if wn is not None else dummy,
            s if s is not None else dummy,
            w if w is not None else dummy,
            xo,
            a if a is not None else dummy,
            S,
            g.stride(0) if g is not None else 0,
            s.stride(0) if s is not None else 0,
            EPS,
            HAS_Y=y is not None,
            HAS_A=s is not None,
            **sizes
        )
        ctx.save_for_backward(xo, y, g, wn, s, w)
        return (xo, a) if y is not None and s is not None else xo if y is not None else a

    @staticmethod
    def backward(ctx, *grads):
        xo, y, g, wn, s, w = ctx.saved_tensors
        B, S, D, nc, sizes = _norm_sizes(xo)
        dxo = grads[0].contiguous() if y is not None else None
        da = grads[-1].contiguous() if s is not None else None
        dx = torch.empty_like(xo)
        dy = torch.empty_like(xo) if y is not None else None
        dg = xo.new_empty(B, nc, D, dtype=torch.float32) if y is not None else None
        ds = xo.new_empty(B, nc, D, dtype=torch.float32) if s is not None else None
        d = xo

        def some(t):
            return t if t is not None else d

        norm_backward[(B, nc)](
            xo,
            some(y),
            some(g),
            some(wn),
            some(s),
            some(w),
            some(dxo),
            some(da),
            dx,
            some(dy),
            some(dg),
            some(ds),
            S,
            g.stride(0) if g is not None else 0,
            s.stride(0) if s is not None else 0,
            EPS,
            nc,
            HAS_Y=y is not None,
            HAS_A=s is not None,
            **sizes
        )
        return (
            dx,
            dy,
            dg.sum(1).to(g.dtype) if y is not None else None,
            None,
            ds.sum(1).to(s.dtype) if s is not None else None,
            None,
        )


class Rope(torch.autograd.Function):
    """qkv [B, S, 3, H, 64] -> q, k, v, each [B, S, H, 64]; q and k get an RMSNorm with
    weights w [2, 64] and are rotated."""

    @staticmethod
    def forward(ctx, qkv, cos, sin, w):
        B, S, _, H, _ = qkv.shape
        out = qkv.new_empty(3, B, S, H, 64)
        rope_forward[(triton.cdiv(B * S, 32), 3)](qkv, cos, sin, w, out, B * S, S, EPS, H=H, BR=32)
        ctx.save_for_backward(qkv, cos, sin, w)
        return out[0], out[1], out[2]

    @staticmethod
    def backward(ctx, dq, dk, dv):
        qkv, cos, sin, w = ctx.saved_tensors
        B, S, _, H, _ = qkv.shape
        dqkv, n = torch.empty_like(qkv), triton.cdiv(B * S, 32)
        dw = torch.empty(n, 2, 64, device=qkv.device)
        rope_backward[(n, 3)](
            qkv,
            cos,
            sin,
            w,
            dq.contiguous(),
            dk.contiguous(),
            dv.contiguous(),
            dqkv,
            dw,
            B * S,
            S,
            EPS,
            H=H,
            BR=32,
        )
        return dqkv, None, None, dw.sum(0).to(w.dtype)


class Gate(torch.autograd.Function):
    """x [..., 2 N] -> silu (first half) * second half"""

    @staticmethod
    def forward(ctx, x):
        out = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        rows, n = out.numel() // out.shape[-1], out.shape[-1]
        gate_forward[(triton.cdiv(rows, 4),)](x, out, rows, N=n, BN=triton.next_power_of_2(n), BR=4)
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx, d):
        (x,) = ctx.saved_tensors
        dx, rows, n = torch.empty_like(x), d.numel() // d.shape[-1], d.shape[-1]
        gate_backward[(triton.cdiv(rows, 4),)](
            x, d.contiguous(), dx, rows, N=n, BN=triton.next_power_of_2(n), BR=4
        )
        return dx


def rms(x, w, eps=EPS):
    return F.rms_norm(x, (x.shape[-1],), w, eps)


def gated_norm(x, y=None, g=None, wn=None, s=None, w=None):
    if fused(x):
        return GatedNorm.apply(x, y, g, wn, s, w)
    if y is not None:
        x = x + g.tanh()[:, None] * rms(y, wn)
    a = rms(x, w) * (1 + s[:, None]) if s is not None else None
    return (x, a) if y is not None and s is not None else x if y is not None else a


def rotate(x, cos, sin):
    e, o = x[..., 0::2], x[..., 1::2]
    c, s = cos[:, None], sin[:, None]
    return torch.stack([e * c - o * s, e * s + o * c], -1).flatten(-2).to(x.dtype)


def rope(qkv, cos, sin, w):
    if fused(qkv):
        return Rope.apply(qkv, cos, sin, w)
    q, k, v = qkv.unbind(2)
    return rotate(rms(q, w[0]), cos, sin), rotate(rms(k, w[1]), cos, sin), v


def gate(x):
    if fused(x):
        return Gate.apply(x)
    a, b = x.chunk(2, -1)
    return F.silu(a) * b
