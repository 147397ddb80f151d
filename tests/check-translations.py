#!/usr/bin/env python3
"""tests/check-translations.py [--status] - POTFILES lists what is translatable; each language is whole.

Prints what is wrong: a file with strings that POTFILES does not name (or the other way round), a
string without a translation, a translation that msgfmt refuses.  --status prints the untranslated
strings only.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PO = ROOT / "resources" / "po"
KEYWORDS = ["_", "N_", "C_:1c,2", "NC_:1c,2", "ngettext:1,2", "g_dngettext:2,3"]
MARKED = {
    ".c": re.compile(r"\b(?:N?C?_|ngettext|g_dngettext) ?\("),
    ".ui": re.compile(r'translatable="(?:yes|true|1)"'),
}


def names_in(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def files_with_strings():
    for folder in ("app", "ui", "resources"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.name.endswith((".desktop.in", ".metainfo.xml.in")):
                yield path.relative_to(ROOT).as_posix()
            elif path.suffix in MARKED:
                if MARKED[path.suffix].search(path.read_text(encoding="utf-8")):
                    yield path.relative_to(ROOT).as_posix()


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def template(folder, names):
    """Writes safelight.pot; returns its path and what is wrong with the strings."""
    pot = Path(folder, "safelight.pot")
    words = [f"--keyword={word}" for word in KEYWORDS]
    code, _, err = run("xgettext", "--from-code=UTF-8", f"--output={pot}", *words, *names)
    complaints = err.strip().splitlines() if code else []
    if not code:
        cut = re.findall(r'^msgid(?:_plural)? "((?:.*[^%])?%)"$', pot.read_text(encoding="utf-8"), re.M)
        complaints += [f'"{text}" goes on in a macro, which gettext cannot read' for text in cut]
    return pot, complaints


def missing_in(language, pot, folder):
    """Yields what is wrong with one language's file, held against the template."""
    po = PO / f"{language}.po"
    if not po.is_file():
        yield f"LINGUAS names {language}, but {po.name} is not there"
        return
    code, _, err = run("msgfmt", "--check", "--output-file=/dev/null", str(po))
    if code:
        yield from err.strip().splitlines()
    merged = Path(folder, f"{language}.po")
    run("msgmerge", "--quiet", "--no-fuzzy-matching", f"--output-file={merged}", str(po), str(pot))
    code, out, _ = run("msgattrib", "--untranslated", "--no-obsolete", "--no-wrap", str(merged))
    for block in out.split("\n\n"):
        m = re.search(r'^msgid "(.*?)"\n(?:msgid_plural|msgstr)|^msgid ""\n((?:".*"\n)+)', block, re.M)
        text = (m[1] or m[2] or "").strip() if m else ""
        if text and "Project-Id-Version" not in block:
            yield f"{language}: not translated: {text}"


def main(arguments):
    listed = names_in(PO / "POTFILES")
    with_strings = set(files_with_strings())
    wrong = [f"POTFILES does not name {name}" for name in sorted(with_strings - set(listed))]
    wrong += [f"POTFILES names {name}: no strings there" for name in listed if name not in with_strings]
    if listed != sorted(listed):
        wrong.append("POTFILES is not sorted")
    with tempfile.TemporaryDirectory() as folder:
        pot, complaints = template(folder, [name for name in listed if name in with_strings])
        wrong += complaints
        for language in names_in(PO / "LINGUAS"):
            missing = list(missing_in(language, pot, folder))
            wrong = missing if arguments[:1] == ["--status"] else wrong + missing
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
