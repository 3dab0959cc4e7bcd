#!/bin/sh
# What the Python packages expect of the system: libGL for OpenCV, Chromium for the browser tests.
# On Debian and Ubuntu it is installed when we may; elsewhere the missing part is named.
set -eu

missing=""
ldconfig -p 2>/dev/null | grep -q 'libGL\.so\.1' || missing="$missing libgl1"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -n "$missing" ] || exit 0
[ "$(uname -s)" = Linux ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "Please install, as root:$missing (for example: sudo apt-get install$missing)" >&2
fi
