#!/usr/bin/env bash
# tests/check-all.sh - what can be checked without building, as TAP.
# shellcheck disable=SC2317  # the functions are called through check
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

id=io.github.safelight.Safelight
n=0
failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

check () { # check NAME COMMAND...
  local name=$1
  shift
  n=$((n + 1))
  if "$@" >"$tmp/output" 2>&1; then
    echo "ok $n $name"
  else
    echo "not ok $n $name"
    sed 's/^/# /' "$tmp/output" | head -n 60
    failed=1
  fi
}

skip () { # skip NAME REASON
  n=$((n + 1))
  echo "ok $n $1 # SKIP $2"
}

check_with () { # check_with TOOL NAME COMMAND...: skipped where the tool is missing
  if command -v "$1" >/dev/null; then
    check "${@:2}"
  else
    skip "$2" "no $1 here"
  fi
}

sources () { # the files of the work tree that match, ignored ones left out; NUL between
  local name
  git ls-files -z --cached --others --exclude-standard -- "$@" |
    while IFS= read -r -d '' name; do [ ! -f "$name" ] || printf '%s\0' "$name"; done
}

formatted () {
  sources '*.c' '*.h' '*.cu' '*.cuh' | xargs -0 -r clang-format-14 --dry-run -Werror 2>&1 |
    sed -n 's/:[0-9]*:[0-9]*: error: .*//p' | uniq | tee "$tmp/unformatted"
  [ ! -s "$tmp/unformatted" ]
}

sizes () { sources | xargs -0 -r python3 tests/check-sizes.py; }

scripts () { shellcheck dev .ci/run tests/*.sh; }

desktop_file () {
  msgfmt --desktop --template="resources/$id.desktop.in" -d resources/po \
    -o "$tmp/$id.desktop" && desktop-file-validate "$tmp/$id.desktop"
}

metainfo () {
  msgfmt --xml --template="resources/$id.metainfo.xml.in" -d resources/po \
    -o "$tmp/$id.metainfo.xml" && appstreamcli validate --no-net --explain "$tmp/$id.metainfo.xml"
}

schemas () {
  local folder
  for folder in $(sources '*.gschema.xml' | xargs -0 -r -n 1 dirname | sort -u); do
    glib-compile-schemas --strict --dry-run "$folder" || return 1
  done
}

well_formed () {
  sources '*.xml' '*.xml.in' '*.ui' '*.svg' | xargs -0 -r python3 -c '
import sys, xml.dom.minidom
for name in sys.argv[1:]:
    try:
        xml.dom.minidom.parse(name)
    except Exception as error:
        sys.exit(f"{name}: {error}")'
}

manifest () {
  /usr/bin/python3 -c '
import sys, yaml
manifest = yaml.safe_load(open(sys.argv[1]))
for key in ("id", "runtime", "runtime-version", "sdk", "command", "finish-args", "modules"):
    assert key in manifest, key
assert manifest["id"] == sys.argv[2]' "flatpak/$id.yml" "$id"
}

check_with clang-format-14 "format" formatted
check "file sizes" sizes
check "layer walls" python3 tests/check-walls.py
check "layer walls find planted crossings" python3 tests/check-walls.py --self-test
check_with shellcheck "shell scripts" scripts
check "XML is well formed" well_formed
check_with glib-compile-schemas "settings schema" schemas
check_with desktop-file-validate "desktop file" desktop_file
check_with appstreamcli "metainfo" metainfo
check_with xgettext "translations" python3 tests/check-translations.py
if /usr/bin/python3 -c 'import yaml' 2>/dev/null; then
  check "flatpak manifest" manifest
else
  skip "flatpak manifest" "no yaml module for Python here"
fi
echo "1..$n"
exit $failed
