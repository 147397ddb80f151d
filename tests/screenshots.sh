#!/usr/bin/env bash
# tests/screenshots.sh BUILD FOLDER [--one] - pictures of the window in every state: both sizes and a
# narrow one, light and dark, English and Chinese.  --one makes only the README's, FOLDER/window.png.
# Needs xvfb, xdotool, imagemagick, xcompmgr and the fonts Cantarell and Noto Sans CJK.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
build=$(cd "$1" && pwd)
mkdir -p "$2"
folder=$(cd "$2" && pwd)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

export GSK_RENDERER=cairo GTK_A11Y=none GSETTINGS_BACKEND=memory DBUS_SESSION_BUS_ADDRESS=disabled:
export GSETTINGS_SCHEMA_DIR=$build/resources/ui SAFELIGHT_LOCALE_DIR=$build/resources/po
export SAFELIGHT_STARTER=${SAFELIGHT_STARTER:-$root/resources/starter/model}
export XDG_DATA_DIRS=$root/resources:${XDG_DATA_DIRS:-/usr/local/share:/usr/share}

shoot () { # shoot PROGRAM PREFIX WIDTH HEIGHT STATES
  # shellcheck disable=SC2016  # for the inner shell
  xvfb-run -a -s "-screen 0 ${3}x${4}x24 -noreset" bash -c '
    xcompmgr & manager=$!
    sleep 0.5 # GTK looks for one only when it starts
    "$@"
    status=$?
    kill "$manager"
    exit "$status"' shoot "$build/tests/$1" "$folder" "${@:2}" 2>&1 | grep -v '^$' || true
}

if [ "${3:-}" = --one ]; then
  ADW_DEBUG_COLOR_SCHEME=prefer-dark LANGUAGE=en LC_ALL=C.UTF-8 \
    shoot screenshots one 1280 800 pictures
  mv "$folder/one-pictures.png" "$folder/window.png"
  exit
fi

real=welcome,pictures,running,timing,zoomed,guided,advanced,menu,model-menu,shortcuts,about,hidden
fake=no-engine,loading,no-model,error
for language in en zh_CN; do
  for scheme in light dark; do
    for size in 1280x800 900x600 360x640; do
      states=$real
      [ "$size" != 360x640 ] || states=welcome,pictures,running,timing
      export ADW_DEBUG_COLOR_SCHEME=prefer-$scheme LANGUAGE=$language LC_ALL=C.UTF-8
      [ "$language" = en ] || export LC_ALL=zh_CN.UTF-8
      locale -a | grep -qi "^${LC_ALL/UTF-8/utf8}$" || export LC_ALL=C.UTF-8
      shoot screenshots "$language-$scheme-$size" "${size%x*}" "${size#*x}" "$states"
      shoot screenshots-fake "$language-$scheme-$size" "${size%x*}" "${size#*x}" "$fake"
    done
  done
done
