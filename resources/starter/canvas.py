"""canvas.py - a display list under construction, and colours as (r, g, b) in 0..1.

Coordinates are those of painter.h: y from 0 (top) to 1, x from 0 to the aspect ratio.
"""

import math

import numpy as np

BAND, ELLIPSE, GLOW, CRESCENT, RING, POLYGON, CAPSULE, HILL, DUNE, AURORA, ROWS, RIVER = range(
    1, 13
)
RECORD, GEOMETRY = 25, 13
FAR = 9.0


def hexes(text):
    """'ffcc00 102030' -> [(r, g, b), (r, g, b)]"""
    return [tuple(int(t[i : i + 2], 16) / 255 for i in (0, 2, 4)) for t in text.split()]


def mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def scale(a, k):
    return tuple(min(1.0, x * k) for x in a)


def luminance(c):
    return 0.30 * c[0] + 0.55 * c[1] + 0.15 * c[2]


class Hill:
    """A rolling crest across the whole picture."""

    def __init__(self, canvas, rng, base, height, bumps):
        f = 2 * math.pi * bumps / canvas.aspect
        self.base, self.height = base, height
        self.waves = [f, rng.uniform(0, 6.28), 1.7 * f, rng.uniform(0, 6.28)]

    def y(self, x):
        f, p, g, q = self.waves
        return self.base - self.height * (
            0.5 + 0.36 * math.sin(f * x + p) + 0.14 * math.sin(g * x + q)
        )


class Canvas:
    """Collects records.  light and haze colour everything that is painted through lit ();
    tone maps each colour to the picture's palette; dark is the side of the shade (1 right)."""

    def __init__(self, aspect, light, haze, tone, fog=0.0, dark=1):
        self.aspect, self.light, self.haze, self.tone = aspect, light, haze, tone
        self.fog, self.dark = fog, dark
        self.unit = aspect ** (0.5 if aspect < 1 else 0.25)  # scale of objects
        self.clip = (-FAR, -FAR, FAR, FAR)
        self.records = []

    def lit(self, colour, near):
        """Colour under the scene's light; near 0 is lost in the haze, 1 is close."""
        near *= 1 - self.fog * (1.15 - near)
        return mix(self.haze, tuple(x * y for x, y in zip(colour, self.light)), near)

    def add(self, kind, bounds, geometry, a, b=None, alpha=1.0):
        box = [
            max(bounds[0], self.clip[0]),
            max(bounds[1], self.clip[1]),
            min(bounds[2], self.clip[2]),
            min(bounds[3], self.clip[3]),
        ]
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        a = self.tone(a)
        b = self.tone(b) if b else a
        geometry = list(geometry) + [0.0] * (GEOMETRY - len(geometry))
        self.records.append([kind, alpha, *box, *a, *b, *geometry])

    def band(self, y0, y1, a, b, alpha0=1.0, alpha1=1.0, bottom=None):
        box = (-FAR, y0, FAR, y1 if bottom is None else bottom)
        self.add(BAND, box, (y0, y1, alpha0, alpha1), a, b)

    def ellipse(self, x, y, rx, ry, colour, alpha=1.0):
        self.add(ELLIPSE, (x - rx, y - ry, x + rx, y + ry), (x, y, rx, ry), colour, alpha=alpha)

    def disc(self, x, y, r, colour, alpha=1.0):
        self.ellipse(x, y, r, r, colour, alpha)

    def glow(self, x, y, r, reach, colour, alpha):
        far = r + 5 * reach
        self.add(GLOW, (x - far, y - far, x + far, y + far), (x, y, r, reach), colour, alpha=alpha)

    def crescent(self, x, y, r, cut, colour):
        self.add(CRESCENT, (x - r, y - r, x + r, y + r), (x, y, r, *cut), colour)

    def ring(self, x, y, r0, r1, colour, alpha=1.0):
        self.add(RING, (x - r1, y - r1, x + r1, y + r1), (x, y, r0, r1), colour, alpha=alpha)

    def polygon(self, points, colour, alpha=1.0):
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        flat = [v for p in points for v in p]
        self.add(
            POLYGON, (min(xs), min(ys), max(xs), max(ys)), [len(points)] + flat, colour, alpha=alpha
        )

    def box(self, x0, y0, x1, y1, colour):
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def capsule(self, x0, y0, x1, y1, r0, colour, r1=None, alpha=1.0):
        r1 = r0 if r1 is None else r1
        r = max(r0, r1)
        box = (min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r)
        self.add(CAPSULE, box, (x0, y0, x1, y1, r0, r1), colour, alpha=alpha)

    def hill(self, hill, crest, foot, depth=0.25):
        box = (-FAR, hill.base - hill.height, FAR, FAR)
        self.add(HILL, box, (hill.base, hill.height, *hill.waves, depth, 1), crest, foot)

    def mirror(self, start, horizon, water, strength):
        """Appends the reflections of records[start:] below the horizon."""
        for rec in list(self.records[start:]):
            r = [float(v) for v in rec]
            r[3], r[5] = max(2 * horizon - rec[5], horizon), 2 * horizon - rec[3]
            for i in (6, 9):
                r[i : i + 3] = mix(r[i : i + 3], water, strength)
            g = 12
            if r[0] == POLYGON:
                for k in range(int(r[g])):
                    r[g + 2 + 2 * k] = 2 * horizon - r[g + 2 + 2 * k]
            elif r[0] == HILL:
                r[g], r[g + 1], r[g + 7] = 2 * horizon - r[g], -r[g + 1], -1.0
                r[3], r[5] = horizon, 1.0
            elif r[0] == CAPSULE:
                r[g + 1], r[g + 3] = 2 * horizon - r[g + 1], 2 * horizon - r[g + 3]
            elif r[0] == ELLIPSE:
                r[g + 1] = 2 * horizon - r[g + 1]
            else:
                continue
            self.records.append(r)

    def array(self):
        return np.asarray(self.records, np.float32)
