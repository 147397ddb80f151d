#!/usr/bin/env python3
"""Prints what `safelight-cli bench --json FILE` measured as Markdown tables: sizes, ablations, the rest.

    python3 tests/bench/tables.py bench.json
"""

import json
import statistics
import sys


def number(x):
    return f"{x:.0f}" if x >= 200 else f"{x:.1f}" if x >= 20 else f"{x:.2f}" if x >= 0.1 else f"{x:.3f}"


def cell(series):
    values = series["values"]
    text = number(statistics.median(values))
    return f"{text} ({number(min(values))} to {number(max(values))})" if len(values) > 1 else text


def by_size(series):
    sizes = sorted({(s["width"], s["height"]) for s in series})
    print("| | " + " | ".join(f"{w}x{h}" for w, h in sizes) + " |\n|---|" + "---|" * len(sizes))
    for name in dict.fromkeys(s["name"] for s in series):
        row = {(s["width"], s["height"]): s for s in series if s["name"] == name}
        unit = next(iter(row.values()))["unit"]
        print(f"| {name}{', ' + unit if unit else ''} | "
              + " | ".join(cell(row[size]) if size in row else "" for size in sizes) + " |")
        rates = [row[size]["flops"] / statistics.median(row[size]["values"]) * 1e-9
                 if size in row and row[size]["flops"] else 0 for size in sizes]
        if any(rates):
            print("| - TFLOP/s | " + " | ".join(f"{rate:.0f}" if rate else "" for rate in rates) + " |")


def ablations(series):
    print("| | size | on | off | on / off |\n|---|---|---|---|---|")
    for on in series:
        if not on["name"].endswith(": on"):
            continue
        name = on["name"].removesuffix(": on")
        off = next(s for s in series if s["name"] == f"{name}: off" and s["width"] == on["width"])
        ratio = statistics.median(on["values"]) / statistics.median(off["values"])
        print(f"| {name} | {on['width']}x{on['height']} | {cell(on)} | {cell(off)} | {ratio:.4f} |")


def main(path):
    with open(path) as file:
        told = json.load(file)
    print(", ".join(f"{k} {v}" for k, v in told["about"].items()) + "\n")
    switched = [s for s in told["series"] if s["name"].endswith((": on", ": off"))]
    sized = [s for s in told["series"] if s["width"] and s not in switched]
    by_size(sized)
    print()
    if switched:
        ablations(switched)
        print()
    print("| | |\n|---|---|")
    for s in told["series"]:
        if not s["width"]:
            print(f"| {s['name']} | {cell(s)} {s['unit']} |")
    for note in told["notes"]:
        print(f"| {note} | |")


if __name__ == "__main__":
    main(sys.argv[1])
