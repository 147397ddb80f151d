"""tests/e2e.py PROGRAM FOLDER - types, presses and reads as a person does; run by e2e.sh."""
import subprocess
import sys
import time
from pathlib import Path

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402

program, folder = sys.argv[1], Path(sys.argv[2])
errors = folder / "stderr"
BUTTONS = {"push button", "button", "toggle button"}
count = 0


def check(name, good, detail=""):
    global count
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} {name}", flush=True)
    if not good:
        print(f"# {detail}")
        print(f"1..{count}")
        sys.exit(1)


def keys(*names):
    subprocess.run(["xdotool", "key", "--delay", "40", *names], check=True)


def wait(what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = what()
        except Exception:  # a node that went away while it was read
            found = None
        if found:
            return found
        time.sleep(0.2)
    return None


def nodes(node, depth=0):
    yield node
    for i in range(node.get_child_count() if depth < 40 else 0):
        child = node.get_child_at_index(i)
        if child:
            yield from nodes(child, depth + 1)


def application():
    desktop = Atspi.get_desktop(0)
    for i in range(desktop.get_child_count()):
        child = desktop.get_child_at_index(i)
        if child and "safelight" in (child.get_name() or "").lower():
            return child
    return None


def find(role, part=""):
    app = application()
    roles = {role} if isinstance(role, str) else role
    for node in nodes(app) if app else ():
        if node.get_role_name() in roles and part in (node.get_name() or ""):
            return node
    return None


def visible(node):
    return node and node.get_state_set().contains(Atspi.StateType.VISIBLE)


def sensitive(node):
    return node and node.get_state_set().contains(Atspi.StateType.SENSITIVE)


def start(*arguments):
    process = subprocess.Popen([program, *arguments], stderr=errors.open("ab"))
    check("the window shows", wait(lambda: find("frame", "Safelight")))
    check("the model is there", wait(lambda: sensitive(find(BUTTONS, "Generate"))))
    return process


def stop(process):
    keys("ctrl+q")
    try:
        status = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        status = "still running"
    check("Ctrl+Q ends it", status == 0, status)


def prompt_text():
    node = find("text", "Prompt")
    return Atspi.Text.get_text(node, 0, -1) if node else None


process = start()
time.sleep(1)
subprocess.run(["xdotool", "mousemove", "160", "120", "click", "1"], check=True)
subprocess.run(["xdotool", "type", "--delay", "30", "a calm lake at noon"], check=True)
check("the prompt is typed", wait(lambda: prompt_text() == "a calm lake at noon"), prompt_text())

keys("F9")
check("F9 shows the timings", wait(lambda: visible(find({"image", "img"}, "Timeline"))))
app = application()
unnamed = [n.get_role_name() for n in nodes(app)
           if n.get_role_name() in BUTTONS | {"spin button", "combo box"}
           and visible(n) and sensitive(n) and not n.get_name()]
check("every control has a name", not unnamed, unnamed)

keys("ctrl+Return")
check("a picture is made", wait(lambda: sensitive(find(BUTTONS, "Save the picture")), 90))
check("it says which", wait(lambda: find({"label"}, "a calm lake at noon")))
check("a row tells its time", wait(lambda: find({"table row"}, "Number of steps: 8")))
Atspi.Action.do_action(find({"page tab"}, "GPU"), 0)
check("the GPU's page says that there is none", wait(lambda: find({"label"}, "No GPU is in use")))

saved = folder / "saved.png"
keys("ctrl+s")
time.sleep(2)
keys("ctrl+a")
subprocess.run(["xdotool", "type", "--delay", "30", str(saved)], check=True)
keys("Return")
check("Ctrl+S saves it", wait(saved.exists, 20))
check("with its settings", wait(lambda: b"a calm lake at noon" in saved.read_bytes()))

time.sleep(1.5)
stop(process)
process = start(str(saved))
check("the prompt is remembered", wait(lambda: prompt_text() == "a calm lake at noon"),
      prompt_text())
check("a picture on the command line offers its settings",
      wait(lambda: find(BUTTONS, "Use Settings")))
keys("Escape")
time.sleep(1)
stop(process)

noise = ("dbind-WARNING", "at-spi", "atspi")
complaints = [line for line in errors.read_text(errors="replace").splitlines()
              if ("WARNING" in line or "CRITICAL" in line) and not any(n in line for n in noise)]
check("nothing complained", not complaints, complaints)
print(f"1..{count}")
