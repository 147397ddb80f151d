#!/usr/bin/env python3
"""tests/check-walls.py - which layer may include what, and who may call the engine.

Meson's include paths stop most crossings at the compiler; this catches those that compile all the
same (a private engine header from ui/, CUDA headers where a system has them in /usr/include).
--self-test plants each kind of crossing in a scratch tree and wants it found.
"""
import re
import sys
import tempfile
from pathlib import Path

SOURCES = {".c", ".h", ".cu", ".cuh"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)

OURS = r"(?:app|ui|engine|kernels)/"
GLIB = r"(?:glib|gio|gobject|gmodule|json-glib)(?:[-./]|$)"
TOOLKIT = r"(?:gtk|gdk|gsk|gdk-pixbuf|graphene|pango|cairo)(?:[-./]|$)|adwaita"
GL = r"(?:GL|GLES\d*|EGL|KHR|epoxy)/"
# The bridge: sl-session.c and the files it is split into.
SESSION = r"sl-session(?:-[a-z]+)?\.[ch]$"
CUDA = r"cuda|cublas|cudnn|cufft|curand|cusolver|nvml|nvrtc|nvToolsExt"

# (files, what they must not include, unless it is this).  The first column is matched against a
# path from the root; a file is held against every row that fits.
RULES = [
    (r"kernels/", OURS, r"kernels/"),
    (r"kernels/", f"{GLIB}|{TOOLKIT}", None),
    (r"kernels/(cpu/|[^/]+$)", f"{CUDA}|{GL}", None),
    (r"kernels/cpu/", OURS, r"kernels/(cpu/|[^/]+$)"),
    (r"kernels/cuda/", OURS, r"kernels/(cuda/|[^/]+$)"),
    (r"engine/", OURS, r"engine/|kernels/device\.h$"),
    (r"engine/", f"{TOOLKIT}|{GL}|{CUDA}", None),
    (rf"ui/{SESSION}", OURS, r"ui/|engine/engine\.h$"),
    (rf"ui/(?!{SESSION})", OURS, r"ui/"),
    (r"ui/", CUDA, None),
    (r"app/", OURS, r"app/|ui/|engine/engine\.h$"),
    (r"app/", f"{GL}|{CUDA}", None),
    (r"app/[^/]*cli", f"ui/|{TOOLKIT}", None),
]
# The engine's names in the window: only its bridge speaks them.
ENGINE_NAME = re.compile(r"\b(?:eng|ENG|krn|KRN)_\w+")
ENGINE_NAME_FILES = re.compile(rf"ui/(?!{SESSION})")


def without_comments(text):
    return COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def crossings(root):
    for path in sorted(root.glob("*/**/*")):
        name = path.relative_to(root).as_posix()
        if path.suffix not in SOURCES or not re.match(OURS, name):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for m in INCLUDE.finditer(text):
            for files, refused, unless in RULES:
                if not re.match(files, name) or not re.match(refused, m[1]):
                    continue
                if unless is None or not re.match(unless, m[1]):
                    yield f"{name}:{line_of(text, m.start(1))}: must not include {m[1]}"
                    break
        if ENGINE_NAME_FILES.match(name):
            bare = without_comments(text)
            for m in ENGINE_NAME.finditer(bare):
                yield f"{name}:{line_of(bare, m.start())}: only ui/sl-session* may say {m[0]}"


PLANTED = {  # path: text; every one of these must be found
    "kernels/cpu/a.c": "#include <glib.h>\n",
    "kernels/cpu/b.c": '#include "engine/engine.h"\n',
    "kernels/cpu/c.c": "#include <cuda_runtime_api.h>\n",
    "kernels/cpu/d.c": '#include "kernels/cuda/common.cuh"\n',
    "kernels/device.h": "#include <cuda_runtime.h>\n",
    "kernels/plan.h": '#include "engine/run.h"\n',
    "kernels/cuda/g.cu": '#include "kernels/cpu/ops.h"\n',
    "kernels/cuda/e.cu": '#  include  "ui/sl-canvas.h"\n',
    "kernels/cuda/f.cu": "#include <gio/gio.h>\n",
    "engine/a.c": "#include <gtk/gtk.h>\n",
    "engine/b.c": "#include <adwaita.h>\n",
    "engine/c.c": "#include <epoxy/gl.h>\n",
    "engine/d.c": "#include <GL/gl.h>\n",
    "engine/e.c": "#include <cublasLt.h>\n",
    "engine/f.c": '#include "ui/sl-session.h"\n',
    "engine/g.c": '#include "kernels/cpu/cpu.h"\n',
    "ui/sl-canvas.c": '#include "engine/engine.h"\n',
    "ui/sl-window.c": "static void f (void) { eng_job_cancel (NULL); }\n",
    "ui/sl-session.c": '#include "engine/run.h"\n',
    "ui/sl-session.h": '#include "kernels/device.h"\n',
    "ui/sl-session-save.c": '#include "engine/image.h"\n',
    "ui/sl-sessions.c": '#include "engine/engine.h"\n',
    "ui/sl-strip.c": "#include <cuda_gl_interop.h>\n",
    "app/main.c": '#include "engine/model.h"\n',
    "app/cli.c": "#include <gtk/gtk.h>\n",
    "app/view.c": "#include <GL/gl.h>\n",
    "app/safelight-cli.c": '#include "ui/sl-window.h"\n',
    "app/sl-application.c": '#include "kernels/device.h"\n',
}
ALLOWED = {  # and none of these
    "kernels/cpu/ok.c": '#include "kernels/cpu/threads.h"\n#include <cblas.h>\n#include <math.h>\n',
    "kernels/cuda/ok.cu": '#include "kernels/device.h"\n#include <cuda_gl_interop.h>\n',
    "engine/ok.c": '#include "engine/run.h"\n#include "kernels/device.h"\n#include <gio/gio.h>\n',
    "ui/sl-session.c": '#include "engine/engine.h"\nstatic void f (void) { eng_job_cancel (0); }\n',
    "ui/sl-session-private.h": '#include "engine/engine.h"\n',
    "ui/sl-ok.c": '#include "ui/sl-session.h"\n/* eng_job_cancel is not ours to call */\n',
    "app/cli.c": '#include "engine/engine.h"\n',
    "app/sl-application.c": '#include "ui/sl-window.h"\n#include <adwaita.h>\n',
    "tests/test-anything.c": '#include "engine/run.h"\n#include <gtk/gtk.h>\n',
}


def found_in(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return list(crossings(Path(folder)))


def self_test():
    found = {line.split(":")[0] for line in found_in(PLANTED)}
    wrong = [f"{name}: planted, not found" for name in PLANTED if name not in found]
    wrong += [f"{line}: allowed, yet refused" for line in found_in(ALLOWED)]
    return wrong


def main(arguments):
    if arguments[:1] == ["--self-test"]:
        wrong = self_test()
    else:
        wrong = list(crossings(Path(arguments[0] if arguments else Path(__file__).parent.parent)))
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
