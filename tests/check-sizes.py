#!/usr/bin/env python3
"""tests/check-sizes.py FILE... - no source file grows past what one can read (R1)."""
import sys
from pathlib import Path

LIMITS = {".c": 800, ".h": 800, ".cu": 800, ".cuh": 800, ".py": 800, ".sh": 800}
LIMITS |= {".ui": 1000, ".css": 1000, ".build": 500}


def main(names):
    wrong = 0
    for path in map(Path, names):
        limit = LIMITS.get(path.suffix, 800 if path.name in ("dev", "run") else None)
        if limit and path.is_file():
            lines = path.read_bytes().count(b"\n")
            if lines > limit:
                print(f"{path}: {lines} lines, at most {limit}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
