"""captions.py - describes a scene in English or Chinese, naming some of what it shows.

caption (attributes, rng) is what a model is trained on; probe () writes the prompts that it is
measured with, in wording of its own, and says which attributes it named.
"""

import re

import scenes

TIME = {
    "dawn": (
        ("at dawn", "at sunrise", "in the early morning"),
        ("dawn", "sunrise", "early morning"),
        ("黎明", "清晨", "日出时", "拂晓"),
    ),
    "day": (
        ("by day", "at noon", "in daylight", "in the daytime"),
        ("daytime", "noon", "daylight"),
        ("白天", "正午", "白昼"),
    ),
    "sunset": (
        ("at sunset", "at sundown", "in the evening glow"),
        ("sunset", "evening"),
        ("日落时", "夕阳下", "傍晚", "日落"),
    ),
    "dusk": (
        ("at dusk", "at twilight", "after sunset"),
        ("dusk", "twilight"),
        ("黄昏", "暮色中", "薄暮"),
    ),
    "night": (
        ("at night", "at midnight", "under the night sky"),
        ("night", "midnight"),
        ("夜晚", "深夜", "夜空下", "午夜"),
    ),
}
TERRAIN = {
    "mountains": (
        ("mountains", "a mountain range", "tall mountains", "a mountain landscape"),
        ("群山", "山脉", "高山", "山峰"),
    ),
    "hills": (
        ("rolling hills", "hills", "gentle hills", "a hilly landscape"),
        ("丘陵", "连绵的山丘", "小山丘"),
    ),
    "forest": (("a forest", "a dense forest", "woods"), ("森林", "茂密的森林", "树林")),
    "desert": (("a desert", "sand dunes", "desert dunes"), ("沙漠", "沙丘", "大漠")),
    "canyon": (
        ("a canyon", "red rock mesas", "a desert canyon", "rock buttes"),
        ("峡谷", "红色岩石峡谷", "平顶山"),
    ),
    "sea": (
        ("the sea", "the ocean", "an open sea", "a seascape"),
        ("大海", "海洋", "海面", "海景"),
    ),
    "lake": (("a lake", "a calm lake", "a still lake"), ("湖泊", "平静的湖", "湖面", "湖")),
    "river": (
        ("a river", "a winding river", "a river valley"),
        ("河流", "蜿蜒的河流", "小河", "河谷"),
    ),
    "field": (("a {} field", "{} fields", "rows of {}"), ("{}田", "一片{}田")),
}
FLOWER = {
    "lavender": (("lavender", "purple flower"), ("薰衣草", "紫色花")),
    "red": (("red tulip", "tulip", "red flower"), ("红色郁金香", "郁金香")),
    "yellow": (("yellow flower", "canola", "golden"), ("油菜花", "黄色花")),
    "pink": (("pink flower", "pink tulip"), ("粉色郁金香", "粉色花")),
}
PALETTE = {
    "red": (("red", "crimson"), ("红色", "绯红色")),
    "orange": (("orange", "amber"), ("橙色", "琥珀色")),
    "gold": (("gold", "golden"), ("金色", "金黄色")),
    "green": (("green", "emerald"), ("绿色", "翠绿色")),
    "teal": (("teal", "turquoise"), ("青色", "青绿色")),
    "blue": (("blue",), ("蓝色",)),
    "violet": (("violet", "purple"), ("紫色", "紫罗兰色")),
    "pink": (("pink", "rose"), ("粉色", "玫瑰色")),
    "grey": (("grey", "black and white", "monochrome"), ("灰色", "黑白")),
}
COLOUR = {
    "red": "红色",
    "blue": "蓝色",
    "yellow": "黄色",
    "green": "绿色",
    "purple": "紫色",
    "orange": "橙色",
    "pink": "粉色",
}
ALWAYS = 2  # the share of what is drawn only when it is asked for
SIDE = {
    "left": ("on the left", "左边"),
    "center": ("in the center", "中央"),
    "right": ("on the right", "右边"),
}
DISC = {
    "sun": (("the sun", "a sun", "the sun"), ("太阳",)),
    "full moon": (("a full moon", "a moon", "the full moon"), ("满月", "月亮", "圆月")),
    "crescent moon": (("a crescent moon", "a thin moon"), ("弯月", "新月", "月牙")),
}
TREES = {
    "pine": (("pine trees", "pines", "fir trees"), ("松树", "杉树")),
    "cactus": (("cacti", "cactus plants", "a cactus"), ("仙人掌",)),
}
ROUND = {
    "spring": (("cherry blossoms", "cherry trees in bloom", "trees"), ("樱花", "樱花树")),
    "summer": (("green trees", "leafy trees", "trees", "round trees"), ("绿树", "大树", "树")),
    "autumn": (("autumn trees", "orange trees", "trees"), ("红叶树", "秋叶树", "树")),
}
SEASON = {
    "spring": ("in spring", ("春天的", "春日")),
    "autumn": ("in autumn", ("秋天的", "秋日")),
    "winter": ("in winter", ("冬天的", "冬日")),
    "summer": ("in summer", ("夏天的",)),
}
LANDMARK = {
    "house": (("a house", "a cottage", "a cabin"), ("小屋", "一座房子", "房子")),
    "lighthouse": (
        ("a lighthouse", "a tall lighthouse", "a striped lighthouse"),
        ("灯塔", "一座灯塔"),
    ),
    "windmill": (("a windmill", "an old windmill"), ("风车", "一座风车")),
    "pyramid": (("pyramids", "a pyramid", "ancient pyramids"), ("金字塔",)),
}
WEATHER = {
    "rain": (("rain", "falling rain", "rainy weather"), ("下雨", "雨天", "雨")),
    "snow": (("falling snow", "snowfall", "snowflakes"), ("下雪", "飘雪", "雪花")),
    "fog": (("fog", "mist", "thick fog"), ("雾", "薄雾", "大雾")),
}
STYLE = (
    (
        "flat illustration",
        "vector art",
        "poster style",
        "an illustration",
        "digital art",
        "highly detailed",
        "4k wallpaper",
        "masterpiece",
    ),
    ("扁平插画", "矢量插画", "海报风格", "风景插画", "极简风格", "高清壁纸"),
)
MOOD = ("beautiful", "peaceful", "serene", "quiet", "dreamy", "calm", "stunning", "lovely")


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def coloured(a, key, rng, share=0.7):
    """The colour of an object, where the palette leaves it visible and the caption names it."""
    shown = a["palette"] == "none" and a[key] != "none" and rng.random() < share
    return a[key] if shown else None


def terrain_words(a, rng, zh):
    words = rng.choice(TERRAIN[a["terrain"]][zh])
    if "{}" in words:
        plain = ("花",) if zh else ("flower",)
        words = words.format(
            rng.choice(FLOWER[a["flower"]][zh] if a["palette"] == "none" else plain)
        )
    kind = "pine" if a["trees"] == "pine" else "round"
    if a["terrain"] == "forest" and rng.random() < 0.45:
        words = {"pine": ("a pine forest", "松树林"), "round": ("a leafy forest", "阔叶林")}[kind][
            zh
        ]
    if a["terrain"] == "mountains" and a["snowcap"] and rng.random() < 0.5:
        words = rng.choice(
            (("snowy mountains", "snow-capped mountains", "snowy peaks"), ("雪山", "雪峰"))[zh]
        )
    if a["lone"] and rng.random() < 0.6:
        words = (("a lone mountain", "孤峰"), ("a lone snowy mountain", "一座雪山"))[a["snowcap"]][
            zh
        ]
    return words


def things(a, rng, zh):
    """(how likely it is named, words) of everything but terrain, time, season and palette."""
    out, pick = [], rng.choice

    def put(share, english, chinese):
        out.append((share, chinese if zh else english))

    if a["landmark"] != "none":
        en, cn = pick(LANDMARK[a["landmark"]][0]), pick(LANDMARK[a["landmark"]][1])
        k = coloured(a, "roof", rng) if a["roof"] != "none" and a["season"] != "winter" else None
        if k and a["landmark"] == "house":
            en, cn = "%s with a %s roof" % (en, k), COLOUR[k] + "屋顶的房子"
        elif k:
            en, cn = "a %s lighthouse" % k, COLOUR[k] + "灯塔"
        put(ALWAYS, en, cn)
    if a["boat"] != "none":
        k = coloured(a, "boat", rng, 0.55)
        en = pick(("a sailboat", "a boat", "a sailing boat"))
        if k:
            en = pick(("a boat with %s sails" % k, article(k + " sailboat")))
        put(
            ALWAYS, en, COLOUR[k] + pick(("帆船", "的帆船")) if k else pick(("帆船", "一艘帆船", "小船"))
        )
    if a["balloon"] != "none":
        k = coloured(a, "balloon", rng)
        put(
            ALWAYS,
            article(k + " hot air balloon") if k else "a hot air balloon",
            (COLOUR[k] if k else "") + "热气球",
        )
    if a["aurora"] != "none":
        k = coloured(a, "aurora", rng, 0.5)
        en = pick(("northern lights", "aurora"))
        put(ALWAYS, "%s %s" % (k, en) if k else en, (COLOUR[k] if k else "") + "极光")
    if a["rainbow"]:
        put(ALWAYS, "a rainbow", "彩虹")
    if a["disc"] != "none":
        en, cn = pick(DISC[a["disc"]][0]), pick(DISC[a["disc"]][1])
        if a["big"] and rng.random() < 0.7:
            size = pick(("big", "large", "huge"))
            en, cn = "a %s %s" % (size, en.split(" ", 1)[1]), pick(("巨大的", "大大的")) + cn
        if rng.random() < 0.40:
            en, cn = "%s %s" % (en, SIDE[a["side"]][0]), SIDE[a["side"]][1] + "的" + cn
        put(0.85, en, cn)
    if a["stars"]:
        put(0.5, pick(("stars", "a starry sky")), pick(("星空", "繁星")))
    if a["clouds"]:
        put(
            0.6,
            pick(("clouds", "a few clouds", "white clouds" if a["time"] == "day" else "clouds")),
            pick(("云朵", "几朵云", "白云" if a["time"] == "day" else "云朵")),
        )
    if a["trees"] != "none" and a["terrain"] != "forest":
        table = TREES.get(a["trees"]) or ROUND[a["season"]]
        put(0.75, pick(table[0]), pick(table[1]))
    if a["island"]:
        put(0.6, "an island", "小岛")
    if a["beach"]:
        put(0.6, pick(("a beach", "a sandy beach")), pick(("沙滩", "海滩")))
    if a["back"] == "mountains":
        snowy = (("snowy mountains", "snow-capped mountains"), ("雪山", "雪峰"))
        plain = (("mountains", "distant mountains"), ("群山", "远山"))
        table = snowy if a["snowcap"] else plain
        put(0.55, pick(table[0]), pick(table[1]))
    if a["weather"] != "clear":
        put(0.88, pick(WEATHER[a["weather"]][0]), pick(WEATHER[a["weather"]][1]))
    return out


def choose(a, rng, zh):
    """Words for terrain and time, and the further things this caption names, in random order."""
    amount = rng.random()
    factor = 0 if amount < 0.08 else 1.35 if amount > 0.70 else 0.85
    named = [words for p, words in things(a, rng, zh) if p == ALWAYS or rng.random() < p * factor]
    rng.shuffle(named)
    return terrain_words(a, rng, zh), rng.random() < 0.84, named


def english(a, rng):
    terrain, timed, named = choose(a, rng, 0)
    pick, kind = rng.choice, rng.random()
    palette = ""
    if a["palette"] != "none" and rng.random() < 0.94:
        w = pick(PALETTE[a["palette"]][0])
        palette = pick(("in shades of %s", "in %s tones", "%s palette", "in %s")) % w
    if a["season"] != "none" and a["palette"] == "none" and rng.random() < 0.45:
        terrain += " " + SEASON[a["season"]][0]
    if kind < 0.16:  # a list of tags
        parts = [terrain] + ([pick(TIME[a["time"]][1])] if timed else []) + named
        parts = [re.sub("^(an?|the) ", "", p) for p in parts]
        if rng.random() < 0.4:
            rng.shuffle(parts)
        return ", ".join(parts + ([palette] if palette else []))
    when = pick(TIME[a["time"]][0]) if timed else ""
    if kind < 0.26 and when:
        text = "%s, %s" % (when, terrain)
    elif kind < 0.42 and named:
        text = ("%s by %s %s" % (named.pop(0), terrain, when)).strip()
    else:
        text = ("%s %s" % (terrain, when)).strip()
    if named:
        last = named.pop()
        text += pick((" with ", " with ", ", ", ", with "))
        text += (", ".join(named) + pick((" and ", ", ")) if named else "") + last
    if palette:
        text = "%s, %s" % ((text, palette) if rng.random() < 0.75 else (palette, text))
    if rng.random() < 0.10:
        text = pick(("a view of ", "a picture of ", "an illustration of ", "a painting of ")) + text
    elif rng.random() < 0.06:
        text = pick(MOOD) + ", " + text
    if rng.random() < 0.10:
        text += ", " + pick(STYLE[0])
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.15 else "")


def chinese(a, rng):
    terrain, timed, named = choose(a, rng, 1)
    pick = rng.choice
    if a["season"] != "none" and a["palette"] == "none" and rng.random() < 0.45:
        terrain = pick(SEASON[a["season"]][1]) + terrain
    text = terrain
    if timed:
        when = pick(TIME[a["time"]][2])
        joined = when + ("" if when[-1] in "时下中" and rng.random() < 0.7 else "的") + terrain
        text = joined if rng.random() < 0.72 else terrain + "，" + when
    if named:
        kind = rng.random()
        if kind < 0.4:
            text += "，" + "，".join(named)
        elif kind < 0.75:
            text += pick(("，有", "和", "，")) + "、".join(named)
        else:
            text = "、".join(named) + "，" + text
    if a["palette"] != "none" and rng.random() < 0.94:
        w = pick(PALETTE[a["palette"]][1]).removesuffix("色")
        text = (
            text + "，" + w + pick(("色调", "色系")) if rng.random() < 0.6 else w + "色调的" + text
        )
    if rng.random() < 0.08:
        text += "，" + pick(STYLE[1])
    return text + ("。" if rng.random() < 0.12 else "")


def caption(a, rng, long=False):
    """One description, a quarter of them Chinese; long ones describe the scene twice."""
    write = chinese if rng.random() < 0.25 else english
    text = write(a, rng)
    if long:
        text += rng.choice((". ", ", ", " ")) + write(a, rng)
        if rng.random() < 0.5:
            text += ", " + ", ".join(rng.sample(STYLE[0] + MOOD, rng.randint(1, 4)))
    return text


def probe(a, rng, zh, most=3):
    """A prompt for measuring, and {attribute: class} for what it names: terrain, time and at
    most `most` further things."""
    labels, named, extra = scenes.labels(a), ["terrain", "time"], []
    terrain = TERRAIN[a["terrain"]][zh][0].format(
        FLOWER[a["flower"]][zh][0] if a["flower"] != "none" else ""
    )
    candidates = []

    def put(keys, english_words, chinese_words):
        candidates.append((keys.split(), chinese_words if zh else english_words))

    if a["landmark"] != "none":
        put("landmark", LANDMARK[a["landmark"]][0][0], LANDMARK[a["landmark"]][1][0])
    if a["boat"] != "none":
        put("boat", "a sailboat", "帆船")
    if a["balloon"] != "none":
        put("balloon", "a hot air balloon", "热气球")
    if a["aurora"] != "none":
        put("aurora", "northern lights", "极光")
    if a["rainbow"]:
        put("rainbow", "a rainbow", "彩虹")
    if a["disc"] != "none":
        en, cn = DISC[a["disc"]][0][0], DISC[a["disc"]][1][0]
        if rng.random() < 0.4:
            en, cn = "%s %s" % (en, SIDE[a["side"]][0]), SIDE[a["side"]][1] + "的" + cn
            put("disc side", en, cn)
        else:
            put("disc", en, cn)
    if a["stars"]:
        put("stars", "stars", "繁星")
    if a["clouds"]:
        put("clouds", "clouds", "云朵")
    if a["trees"] != "none":
        table = TREES.get(a["trees"]) or ROUND[a["season"]]
        if a["terrain"] != "forest":
            put("trees", table[0][0], table[1][0])
    if a["weather"] != "clear":
        put("weather", WEATHER[a["weather"]][0][0], WEATHER[a["weather"]][1][0])
    rng.shuffle(candidates)
    for keys, words in candidates[: rng.randint(1, most)]:
        named += keys
        extra.append(words)
    when = TIME[a["time"]][2 if zh else 0][0]
    if zh:
        text = when + "的" + terrain + ("，" + "、".join(extra) if extra else "")
    else:
        text = terrain + " " + when + (" with " + " and ".join(extra) if extra else "")
    if a["palette"] != "none":
        named.append("palette")
        w = PALETTE[a["palette"]][zh][0]
        text += "，" + w + "调" if zh else ", in shades of " + w
    return text, {k: labels[k] for k in named}
