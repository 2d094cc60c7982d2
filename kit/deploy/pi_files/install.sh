#!/bin/sh
# Installs beside itself, into env/; needs no network, and no root. Run it again after an update.
set -eu
cd "$(dirname "$0")"
fail() { echo "install.sh: $1" >&2; exit 1; }

found="$(dpkg --print-architecture 2>/dev/null || uname -m) with Python $(
	python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)"
[ "$found" = "{{ system.architecture }} with Python {{ system.python }}" ] || fail \
	"expected {{ system.title }}: {{ system.architecture }} with Python {{ system.python }}, got $found: make this folder for this system (kit deploy pi --system)"
[ "$(uname -m)" != armv6l ] || fail \
	"expected a processor of ARMv7 or newer, got ARMv6 (Pi 1, Zero, Zero W): use a Zero 2 W or newer"
{% if system.debian_packages %}
python3 -c 'import numpy, PIL' 2>/dev/null || fail \
	"expected Debian's own packages: sudo apt-get install {{ system.debian_packages.values() | join(' ') }}"
{% endif %}

for pip in wheels/pip-*.whl; do :; done # one of them: an earlier folder's may be here too
# Debian's packages stay visible: the camera's are among them.
rm -rf env.new env.old
python3 -m venv --without-pip --system-site-packages env.new
env.new/bin/python "$pip/pip" --disable-pip-version-check install --quiet --no-index \
	--find-links wheels {% if not system.debian_packages %}--ignore-installed {% endif %}mobilenet-kit
sed -i '1,2s|/env\.new/bin/|/env/bin/|' env.new/bin/kit* # commands name their Python by its full path
[ ! -e env ] || mv env env.old
mv env.new env
rm -rf env.old
mkdir -p images results

# The unit with this folder and this user in it; quotes, % and $ mean something to systemd.
python3 - "$(id -un)" <<'EOF'
import os, sys
folder = os.getcwd()
for character in "\\\"":
    folder = folder.replace(character, "\\" + character)
folder = folder.replace("%", "%%").replace("$", "$$")
with open("kit-label.service.in") as file:
    text = file.read()
with open("kit-label.service", "w") as file:
    file.write(text.replace("@FOLDER@", folder).replace("@USER@", sys.argv[1]))
EOF

env/bin/kit-label {{ model }} --self-test
if systemctl is-active --quiet kit-label 2>/dev/null; then
	echo "kit-label still runs what was here before: sudo systemctl restart kit-label"
fi
