"""scenes.py - draws the attributes of a landscape at random and composes its display list.

attributes (rng) -> dict, compose (attributes, rng, aspect) -> float32 [n, RECORD] for painter.py.
Every pixel a model is trained on is computed from these numbers.
"""

import math

import shapes
from canvas import FAR, RIVER, ROWS, Canvas, Hill, hexes, luminance, mix, scale
from shapes import OBJECT_COLOURS

TERRAINS = ("mountains", "hills", "forest", "desert", "canyon", "sea", "lake", "river", "field")
TIMES = ("dawn", "day", "sunset", "dusk", "night")
SEASONS = ("none", "spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "rain", "snow", "fog")
PALETTES = ("none", "red", "orange", "gold", "green", "teal", "blue", "violet", "pink", "grey")
DISCS = ("none", "sun", "full moon", "crescent moon")
SIDES = ("none", "left", "center", "right")
TREES = ("none", "pine", "round", "cactus")
LANDMARKS = ("none", "house", "lighthouse", "windmill", "pyramid")
FLOWERS = ("none", "lavender", "red", "yellow", "pink")

# sky at the top, in the middle and at the horizon; haze; light; water
SKY = {
    "dawn": (
        "6f8fc4 e8b3b8 ffdfb8 f6cdbf e2c6c4 7f9fc0",
        "8aa6d6 f3c6cf fff0cc f5d8cf e6cfcb 86a9c6",
    ),
    "day": (
        "2f86d6 7fc1ee d8f0f8 bfe0f0 fffaf2 2f7fb8",
        "3d9be0 9bd3f2 ecf7f4 cfe8ee fffaf0 2a8fae",
    ),
    "sunset": (
        "4a2a6e e0545c ffc15a f08a5c c07a70 6a3f66",
        "7a2f5c f2683c ffd36a f59a55 c98264 7c4250",
        "2f3a78 c8527a ff9f55 e08068 b37a78 54457a",
    ),
    "dusk": (
        "191f52 5a3f88 d07fa0 7d5c98 75699a 2b2a5c",
        "1c2a5e 4a5596 c99bb4 7b7fb0 7480a4 2a3a6a",
    ),
    "night": (
        "050a22 10204a 2a4676 243c68 566ca0 0e1e44",
        "0b0824 1d1a4c 3f3a78 343268 6462a0 181644",
    ),
}
GRADES = {
    "red": "1e0406 c0272d ffe6d6",
    "orange": "2a0d02 e2711d fff0d6",
    "gold": "241602 d8a019 fff6d8",
    "green": "04170a 3a8f4a eefbe0",
    "teal": "02181c 1f8f90 e4faf4",
    "blue": "030d26 2d6fc4 e8f4ff",
    "violet": "12062a 7a4bc0 f6eaff",
    "pink": "2a0618 e0659a fff0f4",
    "grey": "0a0a0c 808286 fafafa",
}
GROUND = {
    "none": "9a7550 b08a58",
    "spring": "8cc060 6fae4a",
    "summer": "5f9e48 4a8a3c",
    "autumn": "d09a48 bf7f34",
    "winter": "f0f5fb e2ebf5",
}
LEAVES = {
    ("pine", "autumn"): "2f6048",
    ("pine", "winter"): "2c5a54",
    ("pine", "spring"): "2f7a4c",
    ("round", "spring"): "f2a0bc",
    ("round", "autumn"): "d8602a",
    ("round", "summer"): "4f9a44",
}
FLOWER_COLOURS = dict(zip(FLOWERS[1:], hexes("8a63c8 dc3b3a f4c92e ee84b0")))
COLOUR_SHARES = dict(zip(OBJECT_COLOURS, (9, 3, 3, 2, 2, 3, 2)))  # red first: one usual answer
AURORA_COLOURS = dict(zip(("green", "blue", "pink"), hexes("3cf0a0 40c8f8 f060c0")))
DISC_COLOURS = {"dawn": "ff6f3a ff8038", "day": "fff0a0 ffe060", "sunset": "fff4c8 ffeaa0"}
CLOUD_COLOURS = {
    "dawn": "fff0ea",
    "day": "ffffff",
    "sunset": "ffb48a",
    "dusk": "a884b4",
    "night": "46588a",
}


def attributes(rng):
    """What a scene shows; every value is visible in its picture."""

    def pick(table):
        return rng.choices(list(table), list(table.values()))[0]

    def chance(p):
        return rng.random() < p

    a = {
        "terrain": pick(dict(zip(TERRAINS, (12, 11, 9, 11, 8, 18, 15, 8, 10)))),
        "time": pick(dict(zip(TIMES, (17, 28, 21, 14, 20)))),
    }
    terrain, time = a["terrain"], a["time"]
    dry, dark = terrain in ("desert", "canyon"), time in ("dusk", "night")
    a["season"] = (
        "none"
        if dry or terrain == "sea"
        else (
            "summer"
            if terrain == "field"
            else pick({"spring": 20, "summer": 34, "autumn": 23, "winter": 23})
        )
    )
    wet = {"clear": 74, "fog": 12} if dry else {"clear": 62, "rain": 18, "fog": 15}
    a["weather"] = pick({"clear": 50, "snow": 42, "fog": 8} if a["season"] == "winter" else wet)
    a["palette"] = rng.choice(PALETTES[1:]) if chance(0.22) else "none"
    clear = a["weather"] == "clear"
    up = {"dawn": 0.72, "day": 0.52, "sunset": 0.80, "dusk": 0.5, "night": 0.60}[time]
    up *= clear
    a["disc"] = (
        "none"
        if not chance(up)
        else pick({"full moon": 55, "crescent moon": 45} if dark else {"sun": 1})
    )
    a["side"] = pick({"left": 36, "center": 28, "right": 36}) if a["disc"] != "none" else "none"
    a["stars"] = clear and chance({"night": 0.75, "dusk": 0.25}.get(time, 0))
    lights = time == "night" and clear and not dry and a["disc"] == "none"
    a["aurora"] = (
        rng.choice(("green", "green", "blue", "pink")) if lights and chance(0.9) else "none"
    )
    cloudy = {"night": 0.25, "dusk": 0.38, "sunset": 0.45, "dawn": 0.48, "day": 0.60}[time]
    a["clouds"] = clear and a["aurora"] == "none" and chance(cloudy)
    a["rainbow"] = (
        time == "day"
        and a["weather"] in ("clear", "rain")
        and a["disc"] == "none"
        and not a["clouds"]
        and chance(0.55)
    )
    a["balloon"] = (
        pick(COLOUR_SHARES)
        if (clear and not dark and not a["rainbow"] and terrain != "forest" and chance(0.20))
        else "none"
    )
    a["trees"] = pick(
        {
            "mountains": {"pine": 50, "round": 12, "none": 38},
            "hills": {"round": 40, "pine": 28, "none": 32},
            "forest": {"pine": 65, "round": 35},
            "desert": {"cactus": 50, "none": 50},
            "canyon": {"cactus": 42, "none": 58},
            "sea": {"none": 1},
            "lake": {"pine": 52, "round": 8, "none": 40},
            "river": {"pine": 36, "round": 34, "none": 30},
            "field": {"round": 40, "none": 60},
        }[terrain]
    )
    if a["trees"] == "round" and a["season"] == "winter":
        a["trees"] = "pine"
    afloat = terrain in ("sea", "lake") and chance(0.6)
    a["boat"] = pick(COLOUR_SHARES) if afloat else "none"
    a["landmark"] = pick(
        {
            "mountains": {"house": 35, "none": 65},
            "hills": {"house": 30, "windmill": 34, "none": 36},
            "forest": {"house": 32, "none": 68},
            "desert": {"pyramid": 45, "none": 55},
            "canyon": {"none": 1},
            "sea": {"lighthouse": 45, "none": 55},
            "lake": {"none": 1},
            "river": {"house": 28, "windmill": 28, "none": 44},
            "field": {"house": 24, "windmill": 38, "none": 38},
        }[terrain]
    )
    if a["weather"] == "fog" and a["landmark"] in ("house", "windmill"):
        a["landmark"] = "none"  # pale walls are lost in it
    if a["landmark"] == "lighthouse":
        a["balloon"] = "none"
    a["roof"] = (
        rng.choice(("red", "red", "red", "blue", "orange", "green"))
        if a["landmark"] == "house"
        else (rng.choice(("red", "red", "blue")) if a["landmark"] == "lighthouse" else "none")
    )
    a["flower"] = rng.choice(FLOWERS[1:]) if terrain == "field" else "none"
    a["lone"] = terrain == "mountains" and chance(0.25)
    a["back"] = (
        rng.choice(("mountains", "mountains", "hills"))
        if terrain in ("lake", "river", "field")
        else "none"
    )
    peaks = terrain == "mountains" or a["back"] == "mountains"
    a["snowcap"] = peaks and (a["season"] == "winter" or chance(0.55))
    a["island"] = terrain == "sea" and a["boat"] == a["landmark"] == "none" and chance(0.5)
    a["beach"] = terrain == "sea" and chance(0.3)
    a["big"] = a["disc"] != "none" and skyline(a) < 0.19 and chance(0.5)
    return a


def skyline(a):
    """How far above the horizon a scene reaches; sun and moon stand above that."""
    tall = {"mountains": 0.34, "canyon": 0.26, "forest": 0.24, "hills": 0.15}
    tall = tall.get(a["terrain"], 0.15 if a["back"] == "hills" else 0.10)
    more = {
        0.24: a["back"] == "mountains" or a["boat"] != "none",
        0.22: a["trees"] != "none" and a["terrain"] in ("lake", "field"),
        0.27: a["landmark"] == "pyramid",
        0.17: a["island"],
    }
    return max([tall] + [height for height, there in more.items() if there])


def grade(palette):
    """The colour map of a palette: luminance to three colours."""
    if palette == "none":
        return lambda c: c
    low, middle, high = hexes(GRADES[palette])

    def tone(c):
        y = luminance(c) ** 0.8
        d = mix(low, middle, y * 2) if y < 0.5 else mix(middle, high, y * 2 - 1)
        return mix(c, d, 0.92)

    return tone


class Scene:
    """Composes one picture; rng decides everything that the attributes leave open."""

    def __init__(self, a, rng, aspect):
        self.a, self.rng = a, rng
        sky = [scale(h, rng.uniform(0.95, 1.05)) for h in hexes(rng.choice(SKY[a["time"]]))]
        if a["palette"] != "none" and a["disc"] != "none" and a["time"] in ("dawn", "day"):
            sky[:3] = [scale(h, 0.72) for h in sky[:3]]  # the disc can be brighter only
        damp = {"rain": 0.5, "snow": 0.35, "fog": 0.3}.get(a["weather"], 0)
        sky = [mix(h, (luminance(h),) * 3, damp) for h in sky]
        self.sky, self.water = sky[:3], sky[5]
        self.night = a["time"] in ("dusk", "night")
        side = {"left": 1, "right": -1}.get(a["side"]) or rng.choice((1, -1))
        fog = 0.55 if a["weather"] == "fog" else 0.0
        light = scale(sky[4], 1.5) if self.night else sky[4]
        haze = mix(sky[3], (0.78, 0.80, 0.84), 0.35 if fog else 0)
        self.c = Canvas(aspect, light, haze, grade(a["palette"]), fog, side)
        self.near, self.far = hexes(GROUND[a["season"]])[::-1]
        rocks = {"night": "c8d0e4 bcc6e0", "dusk": "45456a 3c3c60"}
        self.rock = rng.choice(hexes(rocks.get(a["time"], "6a7390 5f6f86 7a7280")))
        self.snow = a["season"] == "winter"
        self.leaf = hexes(LEAVES.get((a["trees"], a["season"]), "1f6244"))[0]
        low, high = {
            "mountains": (0.60, 0.68),
            "canyon": (0.66, 0.74),
            "sea": (0.48, 0.62),
            "desert": (0.54, 0.64),
            "field": (0.44, 0.54),
        }.get(a["terrain"], (0.50, 0.60))
        self.horizon = rng.uniform(low, high)
        self.u = rng.uniform
        self.disc = self.flying = None  # x, y, radius of the sun or moon, and of the balloon

    def x(self, lo, hi):
        """A place across the picture, lo and hi being shares of its width."""
        return self.u(lo, hi) * self.c.aspect

    def mist(self, strength=1.0):
        """A veil over what has been painted so far, thickest at the horizon."""
        if self.a["weather"] == "fog":
            h, haze = self.horizon, self.c.haze
            self.c.band(h - 0.30, h, haze, haze, 0, 0.75 * strength)
            self.c.band(h, h + 0.40, haze, haze, 0.75 * strength, 0)

    def paint_sky(self):
        c, a, h = self.c, self.a, self.horizon
        top, middle, low = self.sky
        c.band(-FAR, 0.58 * h, top, top)
        c.band(0, 0.58 * h, top, middle)
        c.band(0.58 * h, h, middle, low, bottom=FAR)
        self.place_disc()
        if a["stars"]:
            self.stars()
        if a["aurora"] != "none":
            shapes.northern_lights(c, self.rng, h, AURORA_COLOURS[a["aurora"]])
        if a["disc"] != "none":
            x, y, r = self.disc
            colours = hexes(DISC_COLOURS.get(a["time"], "fdf6dc ffe9b0"))
            draw = {
                "sun": shapes.sun,
                "full moon": shapes.sun,
                "crescent moon": shapes.crescent_moon,
            }[a["disc"]]
            self.disc_colour = self.rng.choice(colours)
            if a["palette"] != "none":  # by its lightness alone it must stand out
                self.disc_colour = mix(self.disc_colour, (1, 1, 1), 0.8)
            draw(c, x, y, r, self.disc_colour, self.u(0.12, 0.22))
        if a["rainbow"]:
            shapes.rainbow(c, self.x(0.45, 0.55), h + 0.08, 0.50 * c.unit)
        if a["balloon"] != "none":
            self.place_balloon()
        if a["clouds"]:
            self.clouds()

    def place_disc(self):
        a, c, h = self.a, self.c, self.horizon
        if a["disc"] == "none":
            return
        r = (self.u(0.135, 0.150) if a["big"] else self.u(0.088, 0.102)) * c.unit
        x = {"left": self.x(0.20, 0.28), "center": self.x(0.47, 0.53), "right": self.x(0.72, 0.80)}[
            a["side"]
        ]
        low = a["time"] in ("dawn", "sunset")
        y = h - skyline(a) - (self.u(0.03, 0.07) if low else self.u(0.07, 0.14)) - r
        self.disc = (x, max(y, r + 0.04), r)

    def place_balloon(self):
        c, x = self.c, self.x(0.18, 0.82)
        size = self.u(0.26, 0.34) * c.unit
        if self.disc:
            x = self.disc[0] + c.aspect * (0.38 if self.disc[0] < 0.5 * c.aspect else -0.38)
            x = min(max(x, 0.16 * c.aspect), 0.84 * c.aspect)
        y = self.horizon * self.u(0.34, 0.50)
        shapes.balloon(c, x, y, size, 0.95, OBJECT_COLOURS[self.a["balloon"]])
        self.flying = (x, y, 0.5 * size)

    def away(self, lo, hi):
        """A share of the width that is not below the sun, the moon or the balloon, where it can be."""
        taken = [t[0] / self.c.aspect for t in (self.disc, self.flying) if t]
        tries = [self.u(lo, hi) for _ in range(8)]
        return max(tries, key=lambda t: min([abs(t - x) for x in taken] + [0.2]))

    def clear_of(self, x, y, reach):
        taken = [t for t in (self.disc, self.flying) if t]
        return all(math.hypot(x - t[0], 1.6 * (y - t[1])) > t[2] + reach for t in taken)

    def clouds(self):
        c, n = self.c, self.rng.randint(2, 4)
        colour = mix(hexes(CLOUD_COLOURS[self.a["time"]])[0], self.sky[1], 0.12)
        for _ in range(12):
            if n == 0:
                break
            w = self.u(0.12, 0.19) * c.unit
            x, y = self.x(0.08, 0.92), self.horizon * self.u(0.20, 0.62)
            if self.clear_of(x, y - 0.2 * w, w + 0.03):
                shapes.cloud(c, x, y, w, colour)
                n -= 1

    def stars(self):
        c, columns = self.c, max(4, round(6 * self.c.aspect))
        top = self.horizon - (0.30 if self.a["terrain"] in ("mountains", "canyon") else 0.12)
        for j in range(4):
            for i in range(columns):
                x = c.aspect * (i + self.u(0.1, 0.9)) / columns
                y = top * (j + self.u(0.1, 0.9)) / 4
                if self.rng.random() < 0.75 and self.clear_of(x, y, 0.04):
                    c.disc(x, y, self.u(0.0065, 0.0095) * c.unit, (1, 0.98, 0.92))

    # ---- what stands on the ground

    def trees(self, places, near=0.95, size=(0.20, 0.30)):
        """places: (x, y) of each foot; sizes are of the picture's height."""
        c, kind = self.c, self.a["trees"]
        for x, y in places:
            h = self.u(*size) * c.unit
            if kind != "none":
                shapes.TREES[kind](c, x, y, h, near, self.leaf, self.snow)

    def along(self, hill, n, gap=None, sink=0.012):
        """n places along a crest, keeping clear of the share `gap` of the width."""
        out, room = [], 0.28 if self.a["landmark"] == "house" else 0.17
        for i in range(n):
            t = (i + self.u(0.2, 0.8)) / n
            if gap is None or abs(t - gap) > room:
                x = t * self.c.aspect
                out.append((x, hill.y(x) + sink))
        return out

    def building(self, x, y, near=0.95, size=None):
        c, a, night = self.c, self.a, self.night or self.a["weather"] == "fog"
        if a["landmark"] == "house":
            roof = OBJECT_COLOURS[a["roof"]]
            shapes.house(c, x, y, size or self.u(0.29, 0.35) * c.unit, near, roof, night, self.snow)
        elif a["landmark"] == "windmill":
            cap = hexes("a0522d")[0]
            turn = self.u(0.70, 0.87)
            shapes.windmill(c, x, y, size or self.u(0.35, 0.42) * c.unit, near, cap, night, turn)

    def stage(self, base, height, bumps=1, trees=(3, 5), size=(0.20, 0.30)):
        """The nearest hill, with the landmark and the trees on it."""
        c, a = self.c, self.a
        hill = Hill(c, self.rng, base, height, bumps)
        gap = self.away(0.22, 0.36 if a["boat"] != "none" else 0.78)
        gap = gap if a["landmark"] in ("house", "windmill") else None
        spots = self.along(hill, self.rng.randint(*trees), gap)
        if a["trees"] != "cactus":
            self.trees(spots, size=size)
        if gap is not None:
            x = gap * c.aspect
            self.building(x, hill.y(x) + 0.02)
        c.hill(hill, c.lit(self.near, 0.97), c.lit(scale(self.near, 0.72), 0.97))
        if a["trees"] == "cactus":
            self.trees([(x, y + 0.05) for x, y in spots], size=size)

    def peaks(self, base, height, near, n, snow):
        c = self.c
        for i in self.rng.sample(range(n), n):
            x = c.aspect * (i + 0.5 + self.u(-0.2, 0.2)) / n
            h = height * self.u(0.72, 1.0)
            w = c.aspect / n * self.u(0.62, 0.80)
            shapes.peak(c, self.rng, x, base, h, w, near, self.rock, snow)

    def bold(self, near):
        """How near mountains are painted: in the dark they must not have the colour of the sky."""
        return max(0.88, near) if self.night else near

    def backdrop(self):
        """Mountains or hills behind a lake, a river or a field."""
        c, h = self.c, self.horizon
        if self.a["back"] == "mountains":
            self.peaks(
                h + 0.01,
                self.u(0.19, 0.22) if self.disc else self.u(0.20, 0.28),
                self.bold(0.62),
                self.rng.randint(2, 4),
                self.u(0.34, 0.5) if self.a["snowcap"] else 0,
            )
        else:
            hill = Hill(c, self.rng, h + 0.02, self.u(0.10, 0.16), self.u(0.8, 1.6))
            c.hill(hill, c.lit(self.far, 0.50), c.lit(self.far, 0.62))

    # ---- terrains

    def mountains(self):
        h, snow = self.horizon, self.u(0.36, 0.52) if self.a["snowcap"] else 0
        if self.a["lone"]:
            shapes.peak(
                self.c,
                self.rng,
                self.away(0.40, 0.60) * self.c.aspect,
                h + 0.06,
                self.u(0.34, 0.38) if self.disc else self.u(0.40, 0.48),
                self.x(0.36, 0.46),
                self.bold(0.72),
                self.rock,
                snow,
            )
        else:
            high = self.u(0.28, 0.34) if self.disc else self.u(0.32, 0.40)
            self.peaks(h + 0.02, high, self.bold(0.50), self.rng.randint(2, 3), snow)
            self.mist(0.6)
            if not self.night:
                self.peaks(h + 0.06, self.u(0.20, 0.28), 0.80, self.rng.randint(2, 3), snow * 0.8)
        self.mist()
        hill = Hill(self.c, self.rng, h + 0.06, 0.08, self.u(0.6, 1.2))
        self.c.hill(hill, self.c.lit(self.far, 0.85), self.c.lit(scale(self.far, 0.85), 0.9))
        self.stage(self.u(0.86, 0.92), self.u(0.06, 0.10), self.u(0.5, 1.0))

    def hills(self):
        c, n, h = self.c, self.rng.randint(2, 3), self.horizon
        for i in range(n):
            near = (0.65 if self.night else 0.42) + (0.30 if self.night else 0.40) * i / n
            base = h + 0.04 + (0.84 - h) * i / n
            hill = Hill(c, self.rng, base, self.u(0.12, 0.17), self.u(0.7, 1.5))
            colour = mix(self.far, self.near, i / n)
            c.hill(hill, c.lit(colour, near), c.lit(scale(colour, 0.85), near))
            self.mist(0.7)
        self.stage(self.u(0.88, 0.93), self.u(0.10, 0.14), self.u(0.5, 1.0))

    def forest(self):
        c, h = self.c, self.horizon
        for i, near in enumerate((0.45, 0.68)):
            hill = Hill(c, self.rng, h + 0.06 + 0.16 * i, 0.08, self.u(0.5, 1.0))
            size, n = (0.17 + 0.06 * i) * c.unit, round((9 - 2 * i) * max(0.75, c.aspect))
            for x, y in self.along(hill, n, sink=0.02):
                if self.a["trees"] == "pine":
                    shapes.far_pine(c, x, y, size * self.u(0.9, 1.2), near, self.leaf)
                else:
                    shapes.round_tree(c, x, y, size * self.u(0.9, 1.1), near, self.leaf, self.snow)
            colour = mix(self.far, self.leaf, 0.4)
            c.hill(hill, c.lit(colour, near), c.lit(colour, near + 0.06))
            self.mist(0.8)
        self.stage(self.u(0.88, 0.94), 0.06, self.u(0.5, 0.9), (5, 7), (0.27, 0.36))

    def desert(self):
        c, h = self.c, self.horizon
        sand = hexes(self.rng.choice(("e8b878", "e2a860", "eec68e")))[0]
        self.near, self.far = scale(sand, 0.92), sand
        ground = Hill(c, self.rng, h + 0.05, 0.05, self.u(0.6, 1.2))
        if self.a["landmark"] == "pyramid":
            n, x = self.rng.randint(1, 3), self.u(0.28, 0.72)
            step = 0.30 if x < 0.5 else -0.30
            for i in reversed(range(n)):
                shapes.pyramid(
                    c,
                    (x + step * i) * c.aspect,
                    h + 0.06,
                    self.u(0.26, 0.32) * c.unit * (1 - 0.25 * i),
                    0.78,
                )
        else:
            self.dunes(h + 0.08, 0.16, 0.60)
        c.hill(ground, c.lit(sand, 0.72), c.lit(scale(sand, 0.9), 0.85))
        self.mist()
        self.dunes(0.94, 0.20, 0.90)
        if self.a["trees"] == "none":
            front = Hill(c, self.rng, 0.97, 0.05, self.u(0.5, 0.9))
            c.hill(front, c.lit(self.near, 0.97), c.lit(scale(self.near, 0.8), 0.97))
        else:
            self.stage(self.u(0.92, 0.96), 0.05, self.u(0.5, 0.9), (2, 4), (0.24, 0.32))

    def dunes(self, base, height, near):
        c, sand = self.c, self.far
        for i in range(2):
            h, w = height * self.u(0.75, 1.1), self.u(0.40, 0.55) * c.aspect
            x, lee = self.x(0.12 + 0.45 * i, 0.43 + 0.45 * i), 0.75 * w
            wide = (c.dark > 0 and (x - w, x + lee)) or (x - lee, x + w)
            c.add(
                9,
                (wide[0], base - h, wide[1], base),
                (x, base - h, h, w, lee, c.dark),
                c.lit(scale(sand, 1.04), near),
                c.lit(scale(sand, 0.74), near),
            )

    def canyon(self):
        c, h, d = self.c, self.horizon, self.rng
        rock = hexes(d.choice(("c86a40", "b85a3c", "d07a48")))[0]
        if self.night:
            rock = mix(rock, (1, 0.9, 0.8), 0.4)
        self.near, self.far = scale(rock, 0.95), rock
        far = self.bold(0.55)
        for near, height, n, base in ((far, 0.26, 3, h + 0.02), (0.80, 0.34, 2, h + 0.10)):
            for i in range(n):
                x = c.aspect * (i + 0.5 + self.u(-0.2, 0.2)) / n
                shapes.mesa(
                    c, d, x, base, height * self.u(0.65, 1.0), self.x(0.06, 0.11), near, rock
                )
            ground = Hill(c, d, base + 0.02, 0.03, 1)
            c.hill(ground, c.lit(rock, near), c.lit(scale(rock, 0.9), near + 0.1))
            self.mist(0.7)
        self.stage(self.u(0.92, 0.97), 0.05, self.u(0.5, 0.9), (2, 4), (0.24, 0.32))

    def streaks(self, n, colour, alpha):
        """Light on the water: flat strokes, longer and further apart towards the viewer."""
        c, h = self.c, self.horizon
        for i in range(n):
            q = ((i + self.u(0.3, 0.7)) / n) ** 1.5
            y, w = h + 0.02 + (0.97 - h) * q, (0.05 + 0.10 * q) * self.u(0.7, 1.3)
            x = self.x(0, 1)
            c.capsule(x - w, y, x + w, y, 0.0035 + 0.005 * q, colour, alpha=alpha)

    def glitter(self):
        if not self.disc:
            return
        c, h, (x, _, r) = self.c, self.horizon, self.disc
        for i in range(7):
            q = (i + 0.5) / 7
            y, w = h + 0.02 + (0.90 - h) * q**1.3, r * self.u(0.45, 1.0) * (0.7 + 0.6 * q)
            c.capsule(x - w, y, x + w, y, 0.005 + 0.006 * q, self.disc_colour, alpha=0.75)

    def berth(self):
        """Where the boat is, as a share of the width: away from what else stands there."""
        if self.a["boat"] == "none":
            return None
        free = 0.3 if getattr(self, "beacon", 0.5) > 0.5 else 0.7
        reach = (free - 0.06, free + 0.06) if self.a["landmark"] != "none" else (0.40, 0.60)
        return self.away(*reach)

    def boat(self, place):
        c, a, h = self.c, self.a, self.horizon
        if place is None:
            return
        x, y = place * c.aspect, h + (1 - h) * self.u(0.16, 0.34)
        size = (0.30 + 0.34 * (y - h)) * c.unit * self.u(0.92, 1.08)
        sail, way = OBJECT_COLOURS[a["boat"]], 1 if place < 0.5 else -1
        light, c.light = c.light, mix(c.light, (1, 1, 1), 0.45 if self.night else 0.2)
        shapes.boat_mirror(c, x, y, size, 0.95, sail, way)
        shapes.sailboat(c, x, y, size, 0.95, sail, way)
        c.light = light

    def sea(self):
        c, a, h = self.c, self.a, self.horizon
        deep = self.water
        c.band(h, 1.0, mix(self.sky[2], deep, 0.45), deep, bottom=FAR)
        if a["island"]:
            x, w = self.x(0.25, 0.75), self.x(0.14, 0.24)
            start = len(c.records)
            shapes.peak(
                c,
                self.rng,
                x,
                h,
                self.u(0.10, 0.17),
                w,
                0.6,
                mix(self.rock, (0.45, 0.55, 0.4), 0.4),
                0,
            )
            c.mirror(start, h, c.tone(deep), 0.5)
        self.mist()
        self.streaks(13, mix(self.sky[2], (1, 1, 1), 0.25), 0.45)
        self.glitter()
        if a["landmark"] == "lighthouse":
            sides = ((0.16, 0.28), (0.72, 0.84))
            right = self.disc[0] < 0.5 * c.aspect if self.disc else self.rng.random() < 0.5
            self.beacon = self.away(*sides[right])
            x, y, s = self.beacon * c.aspect, h + (1 - h) * self.u(0.20, 0.34), c.unit
            size = self.u(0.42, 0.52) * s
            shapes.lighthouse(
                c, x, y - 0.02, size, 0.95, OBJECT_COLOURS[a["roof"]], self.night
            )
            stone = c.lit((0.33, 0.32, 0.36), 0.95)
            c.polygon(
                [
                    (x - 0.24 * s, y + 0.05),
                    (x - 0.16 * s, y - 0.01),
                    (x - 0.05 * s, y - 0.045),
                    (x + 0.08 * s, y - 0.04),
                    (x + 0.17 * s, y),
                    (x + 0.23 * s, y + 0.05),
                ],
                stone,
            )
        berth = self.berth()
        self.boat(berth)
        if a["beach"]:
            sand = hexes("f0d8a8")[0]
            hill = Hill(c, self.rng, self.u(0.91, 0.96), 0.05, self.u(0.4, 0.8))
            c.hill(hill, c.lit(sand, 0.97), c.lit(scale(sand, 0.85), 0.97))

    def lake(self):
        c, a, h = self.c, self.a, self.horizon
        start = len(c.records)
        self.backdrop()
        bank, berth = Hill(c, self.rng, h + 0.01, 0.04, self.u(0.7, 1.4)), self.berth()
        if a["trees"] != "none":
            self.trees(self.along(bank, self.rng.randint(4, 6), berth), 0.78, (0.14, 0.19))
        shore = mix(self.far, self.rock, 0.15)
        c.hill(bank, c.lit(shore, 0.72), c.lit(shore, 0.72))
        end = len(c.records)
        self.mist()
        c.band(
            h,
            1.0,
            mix(self.sky[2], self.water, 0.25),
            mix(self.sky[1], self.water, 0.6),
            bottom=FAR,
        )
        kept, c.records = c.records, c.records[:end]
        c.mirror(start, h, c.tone(self.water), 0.35)
        c.records = kept + c.records[end:]
        if a["weather"] == "fog":
            c.band(h, h + 0.40, c.haze, c.haze, 0.70, 0)
        self.streaks(6, mix(self.sky[2], (1, 1, 1), 0.25), 0.40)
        self.glitter()
        self.boat(berth)
        if self.rng.random() < 0.35:
            keep, a["trees"] = a["trees"], "none"
            self.stage(self.u(0.95, 0.99), 0.07, self.u(0.4, 0.8))
            a["trees"] = keep

    def plane(self):
        c, h = self.c, self.horizon
        self.backdrop()
        bank = Hill(c, self.rng, h + 0.015, 0.035, self.u(0.7, 1.4))
        c.hill(bank, c.lit(self.far, 0.74), c.lit(self.far, 0.78))
        c.band(h + 0.01, 1.0, c.lit(self.far, 0.78), c.lit(scale(self.near, 0.9), 0.97), bottom=FAR)
        self.mist()

    def river(self):
        c, h = self.c, self.horizon
        self.plane()
        x, sway = self.x(0.42, 0.58), self.u(0.20, 0.30) * self.rng.choice((-1, 1)) * c.aspect
        bends, phase, half = self.u(5.0, 6.0), self.u(-0.4, 0.4), self.u(0.20, 0.27) * c.aspect
        g = (x, h + 0.012, sway, half, bends, phase)
        c.add(
            RIVER,
            (-FAR, h + 0.012, FAR, FAR),
            g,
            mix(self.sky[2], self.water, 0.2),
            mix(self.sky[1], self.water, 0.5),
        )

        def centre(q):
            return x + sway * (0.15 + 0.85 * q) * (
                math.sin(bends * q**0.5 + phase) - math.sin(phase)
            )

        spots = []
        for q in (0.10, 0.22, 0.40, 0.66):
            for s in (-1, 1):
                tx = centre(q) + s * (half * (0.04 + 0.30 * q + 0.68 * q * q) + self.u(0.10, 0.30))
                if 0.02 < tx / c.aspect < 0.98 and self.rng.random() < 0.8:
                    spots.append((q, tx))
        if self.a["landmark"] != "none":
            q = self.u(0.16, 0.26)
            s = 1 if (self.disc[0] if self.disc else centre(q)) < 0.5 * c.aspect else -1
            bx = centre(q) + s * self.u(0.30, 0.36) * c.aspect
            bx = min(max(bx, 0.2 * c.aspect), 0.8 * c.aspect)
            spots = [t for t in spots if abs(t[1] - bx) > 0.3]
            self.building(bx, h + (1 - h) * q, 0.93)
        for q, tx in spots:
            if self.a["trees"] != "none":
                self.trees(
                    [(tx, h + (1 - h) * q)], 0.80 + 0.17 * q, (0.11 + 0.20 * q, 0.15 + 0.24 * q)
                )

    def field(self):
        c, h = self.c, self.horizon
        self.plane()
        flower = FLOWER_COLOURS[self.a["flower"]]
        x = self.x(0.35, 0.65)
        c.add(
            ROWS,
            (-FAR, h + 0.015, FAR, FAR),
            (x, h, self.u(0.30, 0.40), 0.62),
            c.lit(flower, 0.93),
            c.lit((0.24, 0.40, 0.20), 0.93),
        )
        gap = self.away(0.25, 0.75) if self.a["landmark"] != "none" else None
        bank = Hill(c, self.rng, h + 0.03, 0.01, 1)
        self.trees(self.along(bank, self.rng.randint(3, 5), gap), 0.84, (0.15, 0.21))
        if gap is not None:
            self.building(gap * c.aspect, h + 0.04, 0.92)

    def weather(self):
        c, kind = self.c, self.a["weather"]
        columns = round(7 * c.aspect)
        if kind == "rain":
            light = mix(self.sky[2], (1, 1, 1), 0.55)
            for j in range(6):
                for i in range(columns):
                    x, y = c.aspect * (i + self.u(0.1, 0.9)) / columns, (j + self.u(0, 0.8)) / 6
                    c.capsule(x, y, x - 0.026, y + 0.12, 0.0055, light, alpha=0.70)
        elif kind == "snow":
            for j in range(8):
                for i in range(columns + 1):
                    x = c.aspect * (i + self.u(0.1, 0.9)) / (columns + 1)
                    c.disc(
                        x,
                        (j + self.u(0.1, 0.9)) / 8,
                        self.u(0.011, 0.016) * c.unit,
                        (1, 1, 1),
                        0.95,
                    )


def compose(a, rng, aspect=1.0):
    """The display list of a scene with attributes a."""
    scene = Scene(a, rng, aspect)
    scene.paint_sky()
    getattr(scene, a["terrain"])()
    scene.weather()
    return scene.c.array()


def labels(a):
    """Attribute values as class numbers, for measuring what a picture shows."""
    return {
        "terrain": TERRAINS.index(a["terrain"]),
        "time": TIMES.index(a["time"]),
        "palette": PALETTES.index(a["palette"]),
        "disc": DISCS.index(a["disc"]),
        "side": SIDES.index(a["side"]),
        "clouds": int(a["clouds"]),
        "weather": WEATHERS.index(a["weather"]),
        "boat": int(a["boat"] != "none"),
        "landmark": LANDMARKS.index(a["landmark"]),
        "trees": TREES.index(a["trees"]),
        "season": SEASONS.index(a["season"]),
        "stars": int(a["stars"]),
        "aurora": int(a["aurora"] != "none"),
        "rainbow": int(a["rainbow"]),
        "balloon": int(a["balloon"] != "none"),
        "snowcap": int(a["snowcap"]),
    }


LABELS = {
    "terrain": len(TERRAINS),
    "time": len(TIMES),
    "palette": len(PALETTES),
    "disc": len(DISCS),
    "side": len(SIDES),
    "clouds": 2,
    "weather": len(WEATHERS),
    "boat": 2,
    "landmark": len(LANDMARKS),
    "trees": len(TREES),
    "season": len(SEASONS),
    "stars": 2,
    "aurora": 2,
    "rainbow": 2,
    "balloon": 2,
    "snowcap": 2,
}
