#!/usr/bin/env python3
"""tests/tally.py - counts test results: "N passed, N failed, N skipped".

Reads TAP-like lines ("ok ...", "not ok ...", "... # SKIP ...").  With --meson reads Meson's
testlog.json instead, and prints such a line for every TAP subtest and every plain program.
"""
import json
import re
import sys

LINE = re.compile(r"(not )?ok\b(?:\s+\d+)?\s*(?:- )?(.*)")


def meson_lines(paths):
    for path in paths:
        with open(path, encoding="utf-8") as log:
            for test in map(json.loads, filter(str.strip, log)):
                yield from program_lines(test)


def program_lines(test):
    name = test["name"].split(" / ")[-1]
    passed = test["result"] in ("OK", "EXPECTEDFAIL")
    subtests = [m for m in map(LINE.match, (test.get("stdout") or "").splitlines()) if m]
    for m in subtests:
        yield f"{m[1] or ''}ok {name}: {m[2]}"
    if test["result"] == "SKIP":
        if not subtests:
            yield f"ok {name} # SKIP"
    elif passed and not subtests:
        yield f"ok {name}"
    elif not passed and not any(m[1] for m in subtests):
        # A crash, a leak or a timeout: no line of its own tells of it.
        yield f"not ok {name}: {test['result']}, exit status {test.get('returncode')}"


def count(lines):
    passed = failed = skipped = 0
    for m in filter(None, map(LINE.match, lines)):
        if re.search(r"#\s*(SKIP|TODO)", m[2], re.I):
            skipped += 1
        elif m[1]:
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(arguments):
    if arguments[:1] == ["--meson"]:
        for line in meson_lines(arguments[1:]):
            print(line)
        return 0
    plain = arguments[:1] == ["--plain"]
    lines = []
    for path in arguments[1:] if plain else arguments:
        with open(path, encoding="utf-8") as file:
            lines += file.read().splitlines()
    passed, failed, skipped = count(lines)
    if plain:
        print(f"this part: {passed} good, {failed} bad, {skipped} left out")
    else:
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
