#!/usr/bin/env bash
# tests/e2e.sh PROGRAM SCHEMAS STARTER - the real program under a bus, an accessibility bus and an X
# server of its own: keys from xdotool, names and states through AT-SPI (e2e.py).  Prints TAP.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for tool in xvfb-run xdotool dbus-run-session; do
  command -v "$tool" >/dev/null || { echo "1..0 # SKIP no $tool"; exit 0; }
done
/usr/bin/python3 -c "import gi; gi.require_version('Atspi', '2.0')" 2>/dev/null ||
  { echo "1..0 # SKIP no python3-gi with gir1.2-atspi-2.0"; exit 0; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder XDG_CONFIG_HOME=$folder/config XDG_CACHE_HOME=$folder/cache
export XDG_DATA_HOME=$folder/data XDG_RUNTIME_DIR=$folder/run
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_CONFIG_HOME"
unset DBUS_SESSION_BUS_ADDRESS GTK_A11Y G_DEBUG
export GSETTINGS_BACKEND=keyfile GSETTINGS_SCHEMA_DIR=$2 SAFELIGHT_STARTER=$3
export GSK_RENDERER=cairo GDK_DEBUG=gl-disable LC_ALL=C.UTF-8 LANGUAGE=en
# Leaks are for the in-process tests to find: here GLib's and the accessibility bus's own count too.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
# The daemons have something to say, too: only TAP passes.
dbus-run-session -- xvfb-run -a -s '-screen 0 1280x900x24 -noreset' \
  /usr/bin/python3 "$here/e2e.py" "$1" "$folder" |
  grep --line-buffered -E '^(ok|not ok|#|1\.\.)'
