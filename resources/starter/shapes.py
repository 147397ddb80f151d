"""shapes.py - the things a scene is made of: peaks, trees, buildings, boats, clouds, sun and moon.

x, y is where a thing stands (its foot, in the middle), h its height, near how close it is.
"""

import math

from canvas import AURORA, FAR, hexes, mix, scale

OBJECT_COLOURS = dict(
    zip(
        ("red", "blue", "yellow", "green", "purple", "orange", "pink"),
        hexes("d83a34 2f6fd0 f2c230 3aa05a 8a4fc0 ee7d2a ee7fa8"),
    )
)
WOOD, TRUNK, WALL, CREAM, WINDOW, LAMP = hexes("75472f 5a3d2c f2e6cc faf3e6 4d6680 ffd66b")
SNOW, SAND_STONE, DARK_METAL, BRICK = hexes("f6f9ff ecbd76 40404d a8583f")


def peak(c, rng, x, base, h, w, near, rock, snow):
    """A mountain of two facets; snow is the share of its height that is white."""
    d, top = c.dark, base - h
    wl, wr = w * rng.uniform(0.85, 1.15), w * rng.uniform(0.85, 1.15)
    knee = {s: (x + s * v * rng.uniform(0.40, 0.48), top + h * 0.5) for s, v in ((-1, wl), (1, wr))}
    foot = {-1: (x - wl, base), 1: (x + wr, base)}
    bright, shade = c.lit(scale(rock, 1.12), near), c.lit(scale(rock, 0.72), near)
    c.polygon([foot[-1], knee[-1], (x, top), knee[1], foot[1]], bright)
    ridge = [(x - d * w * 0.10, top + h * 0.34), (x + d * w * 0.04, top + h * 0.62)]
    c.polygon([(x, top), ridge[0], ridge[1], (x - d * w * 0.14, base), foot[d], knee[d]], shade)
    if snow:

        def edge(s, t):
            return (x + (knee[s][0] - x) * t * 2, top + h * t)

        white, grey = c.lit(SNOW, near), c.lit(scale(SNOW, 0.80), near)
        low = (x - d * w * 0.10 * snow / 0.34, top + h * snow)
        a, b = edge(-d, snow * 0.95), edge(d, snow * 1.05)
        tooth = (0.6 * a[0] + 0.4 * low[0], top + h * snow * 0.72)
        notch = (0.5 * b[0] + 0.5 * low[0], top + h * snow * 0.70)
        c.polygon([(x, top), a, tooth, low], white)
        c.polygon([(x, top), b, notch, low], grey)


def pine(c, x, y, h, near, colour, snow):
    d = c.dark
    c.box(x - 0.035 * h, y - 0.16 * h, x + 0.035 * h, y, c.lit(TRUNK, near))
    bright, shade = c.lit(colour, near), c.lit(scale(colour, 0.74), near)
    for low, high, w in ((0.12, 0.58, 0.27), (0.36, 0.80, 0.22), (0.60, 1.0, 0.16)):
        a, b, tip = (x - w * h, y - low * h), (x + w * h, y - low * h), (x, y - high * h)
        c.polygon([a, b, tip], bright)
        c.polygon([(x, y - low * h), b if d > 0 else a, tip], shade)
        if snow:
            t = 0.42
            c.polygon(
                [tip] + [(tip[0] + (p[0] - x) * t, tip[1] + (p[1] - tip[1]) * t) for p in (a, b)],
                c.lit(SNOW, near),
            )


def far_pine(c, x, y, h, near, colour):
    shade = c.lit(colour, near)
    for low, high, w in ((0.0, 0.62, 0.25), (0.36, 1.0, 0.18)):
        c.polygon([(x - w * h, y - low * h), (x + w * h, y - low * h), (x, y - high * h)], shade)


def round_tree(c, x, y, h, near, colour, snow):
    d = c.dark
    c.box(x - 0.045 * h, y - 0.5 * h, x + 0.045 * h, y, c.lit(TRUNK, near))
    c.ellipse(x, y - 0.66 * h, 0.30 * h, 0.34 * h, c.lit(scale(colour, 0.78), near))
    bright = c.lit(SNOW if snow else colour, near)
    c.ellipse(x - d * 0.05 * h, y - 0.70 * h, 0.24 * h, 0.28 * h, bright)


def cactus(c, x, y, h, near, _colour, _snow):
    green = c.lit((0.27, 0.50, 0.30), near)
    c.capsule(x, y, x, y - 0.92 * h, 0.10 * h, green)
    for s, low, high in ((-1, 0.40, 0.68), (1, 0.52, 0.84)):
        c.capsule(x, y - low * h, x + s * 0.26 * h, y - low * h, 0.065 * h, green)
        c.capsule(x + s * 0.26 * h, y - low * h, x + s * 0.26 * h, y - high * h, 0.065 * h, green)


TREES = {"pine": pine, "round": round_tree, "cactus": cactus}


def house(c, x, y, h, near, roof, night, snow):
    """One pale wall under a large roof; where snow lies the wall is brick."""
    d, wall = c.dark, c.lit(BRICK if snow else WALL, near)
    c.box(x - 0.54 * h, y - 0.50 * h, x + 0.54 * h, y, wall)
    roof = SNOW if snow else roof
    c.polygon(
        [(x - 0.76 * h, y - 0.45 * h), (x, y - h), (x + 0.76 * h, y - 0.45 * h)], c.lit(roof, near)
    )
    c.polygon(
        [(x, y - 0.45 * h), (x, y - h), (x + d * 0.76 * h, y - 0.45 * h)],
        c.lit(scale(roof, 0.82), near),
    )
    c.box(x - 0.11 * h, y - 0.34 * h, x + 0.11 * h, y, c.lit(WOOD, near))
    pane = LAMP if night else c.lit(LAMP if snow else WINDOW, near)
    for s in (-1, 1):
        at = x + s * 0.34 * h
        c.box(at - 0.10 * h, y - 0.34 * h, at + 0.10 * h, y - 0.14 * h, pane)


def lighthouse(c, x, y, h, near, stripe, night):
    d = c.dark
    for i in range(5):
        lo, hi = y - 0.16 * i * h, y - 0.16 * (i + 1) * h
        a, b = (0.17 - 0.065 * 0.16 * i) * h, (0.17 - 0.065 * 0.16 * (i + 1)) * h
        colour = stripe if i % 2 else CREAM
        c.polygon([(x - a, lo), (x + a, lo), (x + b, hi), (x - b, hi)], c.lit(colour, near))
        c.polygon(
            [(x + d * 0.3 * a, lo), (x + d * a, lo), (x + d * b, hi), (x + d * 0.3 * b, hi)],
            c.lit(scale(colour, 0.80), near),
        )
    c.box(x - 0.16 * h, y - 0.83 * h, x + 0.16 * h, y - 0.79 * h, c.lit(DARK_METAL, near))
    lamp = LAMP if night else c.lit((0.72, 0.86, 0.94), near)
    c.box(x - 0.08 * h, y - 0.92 * h, x + 0.08 * h, y - 0.83 * h, lamp)
    c.polygon(
        [(x - 0.12 * h, y - 0.91 * h), (x + 0.12 * h, y - 0.91 * h), (x, y - 1.02 * h)],
        c.lit(stripe, near),
    )


def windmill(c, x, y, h, near, cap, night, turn):
    d, hub = c.dark, (x, y - 0.72 * h)
    body = [
        (x - 0.20 * h, y),
        (x + 0.20 * h, y),
        (x + 0.12 * h, y - 0.70 * h),
        (x - 0.12 * h, y - 0.70 * h),
    ]
    c.polygon(body, c.lit(WALL, near))
    half = [
        (x + d * 0.04 * h, y),
        (x + d * 0.20 * h, y),
        (x + d * 0.12 * h, y - 0.70 * h),
        (x + d * 0.03 * h, y - 0.70 * h),
    ]
    c.polygon(half, c.lit(scale(WALL, 0.84), near))
    c.ellipse(x, y - 0.70 * h, 0.145 * h, 0.15 * h, c.lit(cap, near))
    c.box(x - 0.055 * h, y - 0.19 * h, x + 0.055 * h, y, c.lit(WOOD, near))
    c.box(
        x - 0.05 * h,
        y - 0.46 * h,
        x + 0.05 * h,
        y - 0.36 * h,
        LAMP if night else c.lit(WINDOW, near),
    )
    for k in range(4):
        a = turn + k * math.pi / 2
        u, v = (math.cos(a), math.sin(a)), (-math.sin(a), math.cos(a))

        def at(along, across):
            return (
                hub[0] + h * (along * u[0] + across * v[0]),
                hub[1] + h * (along * u[1] + across * v[1]),
            )

        c.polygon([at(0.12, 0), at(0.48, 0), at(0.48, 0.15), at(0.12, 0.15)], c.lit(CREAM, near))
        c.capsule(*hub, *at(0.49, 0), 0.018 * h, c.lit(WOOD, near))


def pyramid(c, x, y, h, near):
    d, w = c.dark, 0.86 * h
    c.polygon([(x - w, y), (x + w, y), (x, y - h)], c.lit(SAND_STONE, near))
    c.polygon(
        [(x + d * 0.22 * w, y), (x + d * w, y), (x, y - h)], c.lit(scale(SAND_STONE, 0.68), near)
    )


def sailboat(c, x, y, h, near, sail, way):
    """way is 1 when the boat sails to the right."""

    def at(u, v):
        return (x + way * u * h, y - v * h)

    c.polygon([at(-0.38, 0.02), at(0.36, 0.02), at(0.50, 0.19), at(-0.47, 0.19)], c.lit(WOOD, near))
    c.polygon(
        [at(-0.47, 0.19), at(0.50, 0.19), at(0.48, 0.145), at(-0.45, 0.145)], c.lit(CREAM, near)
    )
    c.capsule(*at(0, 0.18), *at(0, 1.0), 0.017 * h, c.lit(WOOD, near))
    c.polygon([at(0.02, 0.24), at(0.50, 0.24), at(0.02, 0.98)], c.lit(sail, near))
    c.polygon(
        [at(-0.03, 0.24), at(-0.36, 0.24), at(-0.03, 0.90)], c.lit(mix(sail, CREAM, 0.4), near)
    )


def boat_mirror(c, x, y, h, near, sail, way):
    """The reflection of a sailboat: its sail, short and pale, below the hull."""

    def at(u, v):
        return (x + way * u * h, y + v * h)

    c.polygon([at(-0.28, 0.04), at(0.40, 0.04), at(0.03, 0.44)], c.lit(sail, near), 0.34)


def balloon(c, x, y, h, near, colour):
    """y is the middle of the envelope."""
    r = 0.36 * h
    bright, pale = c.lit(colour, near), c.lit(CREAM, near)
    c.polygon(
        [
            (x - 0.93 * r, y + 0.36 * r),
            (x + 0.93 * r, y + 0.36 * r),
            (x + 0.22 * r, y + 1.42 * r),
            (x - 0.22 * r, y + 1.42 * r),
        ],
        bright,
    )
    c.polygon(
        [
            (x - 0.36 * r, y + 0.50 * r),
            (x + 0.36 * r, y + 0.50 * r),
            (x + 0.10 * r, y + 1.42 * r),
            (x - 0.10 * r, y + 1.42 * r),
        ],
        pale,
    )
    c.disc(x, y, r, bright)
    c.ellipse(x, y, 0.40 * r, r, pale)
    c.box(x - 0.20 * r, y + 1.60 * r, x + 0.20 * r, y + 1.92 * r, c.lit(WOOD, near))
    for s in (-1, 1):
        c.capsule(
            x + s * 0.16 * r,
            y + 1.40 * r,
            x + s * 0.16 * r,
            y + 1.62 * r,
            0.02 * r,
            c.lit(TRUNK, near),
        )


def cloud(c, x, y, w, colour):
    """y is the flat base, w half the width."""
    keep, c.clip = c.clip, (-FAR, -FAR, FAR, y)
    for u, v, r in (
        (-0.62, 0.02, 0.26),
        (-0.22, 0.14, 0.40),
        (0.28, 0.06, 0.36),
        (0.70, 0.0, 0.22),
    ):
        c.disc(x + u * w, y - v * w, r * w, colour)
    c.clip = keep


def mesa(c, rng, x, base, h, w, near, rock):
    d, top = c.dark, base - h
    a, b = x - w, x + w
    bright, shade = c.lit(scale(rock, 1.06), near), c.lit(scale(rock, 0.72), near)
    c.polygon(
        [
            (a - 0.35 * w, base),
            (a - 0.10 * w, top + 0.45 * h),
            (a, top),
            (b, top),
            (b + 0.10 * w, top + 0.45 * h),
            (b + 0.35 * w, base),
        ],
        bright,
    )
    side = b if d > 0 else a
    c.polygon(
        [
            (side - d * 0.55 * w, top),
            (side, top),
            (side + d * 0.10 * w, top + 0.45 * h),
            (side + d * 0.35 * w, base),
            (side - d * 0.30 * w, base),
        ],
        shade,
    )
    y = top + h * rng.uniform(0.20, 0.30)
    c.box(a - 0.02 * w, y, b + 0.02 * w, y + 0.07 * h, c.lit(scale(rock, 0.86), near))


def sun(c, x, y, r, colour, glow):
    c.glow(x, y, r, r * 1.2, colour, glow)
    c.disc(x, y, r, colour)


def crescent_moon(c, x, y, r, colour, glow):
    c.glow(x, y, r * 0.6, r, colour, glow)
    c.crescent(x, y, r, (x + 0.46 * c.dark * r, y - 0.20 * r, 0.86 * r), colour)


def northern_lights(c, rng, horizon, colour):
    for base, height, alpha in ((0.72, 0.24, 0.9), (0.42, 0.20, 0.65)):
        f = 2 * math.pi * rng.uniform(0.7, 1.2) / c.aspect
        g = (
            base * horizon + 0.05,
            height * horizon,
            f,
            rng.uniform(0, 6.28),
            2.3 * f,
            rng.uniform(0, 6.28),
            0.42 * horizon,
        )
        c.add(AURORA, (-FAR, -FAR, FAR, horizon), g, colour, (0.56, 0.28, 0.85), alpha)


def rainbow(c, x, y, r):
    for i, colour in enumerate(hexes("e8554a f29a3e f7e05a 4fc98a 4a78ea 8f5ad8")):
        c.ring(x, y, r - 0.028 * (i + 1), r - 0.028 * i, colour, 0.75)
