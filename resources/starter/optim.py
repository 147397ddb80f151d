"""optim.py - one flat buffer for all weights, and the optimiser that steps it.

Matrices of the blocks take Muon steps (orthogonalised momentum, a stack of matrices at a time), all
other weights Adam steps.  Masters are float32; the networks see bfloat16 copies, which is also what
is shipped.  Everything is a handful of operations on device tensors, fit for a CUDA graph.
"""

import torch

STACKS = (
    (44, 192, 192),
    (24, 512, 192),
    (11, 192, 512),
    (2, 192, 256),
    (4, 384, 192),
    (2, 192, 384),
)
QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
FROZEN = (".n1", ".n2", ".f1", ".f2")  # of modulated blocks, whose modulation can do the same


def orthogonal(x):
    """The nearest matrices with orthonormal rows or columns, by Newton-Schulz steps."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for a, b, c in QUINTIC:
        y = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(y, y, y, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimiser:
    def __init__(self, weights, device, kind):
        """weights: the fused float32 weights, in the order of model.layout ()."""
        self.master = torch.cat([w.flatten() for w in weights.values()]).to(device)
        self.live = self.master.to(kind, copy=True)
        self.ema = self.master.clone()
        self.grad = torch.zeros_like(self.live)
        self.momentum, self.square = torch.zeros_like(self.master), torch.zeros_like(self.master)
        self.rate, self.keep, self.count = (torch.zeros((), device=device) for _ in range(3))
        self.matrices = sum(n * a * b for n, a, b in STACKS)
        self.shapes = {k: w.shape for k, w in weights.items()}
        self.weights = self.views(self.live)
        for name, leaf in self.weights.items():
            plain = "refiner" in name and "context" in name or name.startswith("text.")
            leaf.requires_grad_(plain or not name.endswith(FROZEN))

    def views(self, flat):
        out, at = {}, 0
        for name, shape in self.shapes.items():
            out[name] = flat[at : at + shape.numel()].view(shape).detach()
            at += shape.numel()
        return out

    def collect(self, loss):
        """Puts the gradients of loss into self.grad."""
        leaves = [w for w in self.weights.values() if w.requires_grad]
        found = iter(torch.autograd.grad(loss, leaves, allow_unused=True))
        grads = [next(found) if w.requires_grad else None for w in self.weights.values()]
        pieces = [
            torch.zeros_like(w) if g is None else g for g, w in zip(grads, self.weights.values())
        ]
        torch.cat([p.flatten() for p in pieces], out=self.grad)

    @torch.no_grad()
    def step(self, share=1.0, clip=1.0):
        """One update from self.grad times share."""
        g = self.grad.float() * share
        g = g * (clip / (g.norm() + 1e-6)).clamp(max=1)
        n = self.matrices
        self.momentum[:n].lerp_(g[:n], 0.05)
        ahead = g[:n].lerp(self.momentum[:n], 0.95).to(torch.bfloat16)
        at = 0
        for stack in STACKS:
            size = stack[0] * stack[1] * stack[2]
            x = orthogonal(ahead[at : at + size].view(stack)).float() * (
                0.2 * max(stack[1:]) ** 0.5
            )
            self.master[at : at + size].sub_(x.flatten() * self.rate)
            at += size
        self.count.add_(1)
        self.momentum[n:].lerp_(g[n:], 0.1)
        self.square[n:].lerp_(g[n:] * g[n:], 0.02)
        first = self.momentum[n:] / (1 - 0.9**self.count)
        second = self.square[n:] / (1 - 0.98**self.count)
        self.master[n:].sub_(0.7 * self.rate * first / (second.sqrt() + 1e-8))
        self.ema.lerp_(self.master, 1 - self.keep)
        self.live.copy_(self.master)
