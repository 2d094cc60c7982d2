#!/usr/bin/env bash
# Installs what `kit deploy pi` writes in Debian's own userland for ARM, under QEMU and without a
# network, runs the self-test, labels images, and compares every score with this machine's, from the
# same release of the interpreter: releases differ by more than processors do.
#
#   tests/device/arm64/arm64.sh SYSTEM IMAGES LABELLED POSITIVE MODEL...
#
# SYSTEM is bookworm-arm64 or bookworm-armhf, IMAGES a folder, each MODEL a packaged .tflite.
# On LABELLED, a folder with a folder of images for each label, the first MODEL gets thresholds for
# POSITIVE, here and there, and its results are watched and logged: the bytes must be the same. The
# userland is unpacked once into KIT_DEVICE_CACHE (~/.cache/mobilenet-kit/device). Needs root, on a
# Debian or Ubuntu whose packages can be had; exits with 77, and says why, where that is not so.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
system=$1 images=$(realpath "$2") labelled=$(realpath "$3") positive=$4
shift 4
python=${PYTHON:-python}
cache=${KIT_DEVICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mobilenet-kit/device}

skip() { echo "arm64.sh: $1" >&2; exit 77; }
case $system in
bookworm-arm64) architecture=arm64 emulator=aarch64 packages=python3 ;;
bookworm-armhf) architecture=armhf emulator=arm packages=python3,python3-numpy,python3-pil ;;
*) skip "expected bookworm-arm64 or bookworm-armhf, got $system" ;;
esac

[ "$(id -u)" = 0 ] || skip "expected root, for chroot"
if ! command -v debootstrap >/dev/null || ! command -v update-binfmts >/dev/null ||
	! command -v "qemu-$emulator-static" >/dev/null; then
	command -v apt-get >/dev/null || skip "expected qemu-user-static, debootstrap and binfmt-support"
	{ apt-get -o DPkg::Lock::Timeout=120 update && apt-get -o DPkg::Lock::Timeout=120 install --yes \
		--no-install-recommends qemu-user-static debootstrap binfmt-support; } >/dev/null 2>&1 ||
		skip "expected qemu-user-static, debootstrap and binfmt-support, which cannot be had"
fi
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/status ] || mount -t binfmt_misc binfmt_misc $binfmt 2>/dev/null ||
	skip "expected binfmt_misc, which this kernel does not have"
[ -e "$binfmt/qemu-$emulator" ] || update-binfmts --enable "qemu-$emulator" ||
	skip "expected to enable qemu-$emulator"
offline=(unshare --net)
"${offline[@]}" true 2>/dev/null || offline=() # install.sh itself forbids pip the network

root=$cache/$system
if [ ! -d "$root" ]; then
	# Unpacked by this machine's own processor, not configured: a tenth of the time, and all that
	# labels images is there. Debian's alternatives are not: libblas and liblapack have to be named.
	mkdir -p "$cache"
	partial=$(mktemp -d "$cache/.$system.XXXXXX")
	trap 'rm -rf "$partial"' EXIT
	chmod 755 "$partial"
	debootstrap --foreign --arch="$architecture" --variant=minbase --include="$packages" \
		bookworm "$partial" >"$cache/$system.log" 2>&1 ||
		skip "expected a userland from debootstrap: see $cache/$system.log"
	for package in "$partial"/var/cache/apt/archives/*.deb; do
		dpkg-deb --extract "$package" "$partial"
		rm "$package"
	done
	echo "root:x:0:0:root:/root:/bin/sh" >"$partial/etc/passwd"
	mv "$partial" "$root"
fi
libraries=$(cd "$root" && find usr/lib -maxdepth 2 -type d \( -name blas -o -name lapack \) -printf '/%p:')

reference=$cache/tflite-runtime
if [ ! -x "$reference/bin/complete" ]; then
	rm -rf "$reference"
	"$python" -m venv "$reference"
	"$reference/bin/python" -m pip install --quiet tflite-runtime==2.14.0 'numpy<2' pillow ||
		skip "expected tflite-runtime 2.14.0 for this machine, which has wheels for Python 3.9 to 3.11"
	ln -s python "$reference/bin/complete"
fi

work=$(mktemp -d)
home=$root/home/pi
trap 'rm -rf "$work" "$home"' EXIT
rm -rf "$home"
mkdir -p "$home"
on_device() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LD_LIBRARY_PATH="$libraries" HOME=/home/pi \
		"${offline[@]}" chroot "$root" "$@"
}

"$python" -c 'from kit.cli import main; main()' \
	deploy pi "$1" --system "$system" --output "$work/deployed"
cp -r "$work/deployed" "$home/kit"
cp -r "$images" "$home/photos"
on_device sh /home/pi/kit/install.sh
every_score=(--top-k 1000000 --score-threshold 0 --format json)
for model in "$@"; do
	model=$(realpath "$model") name=$(basename "$model" .tflite)
	cp "$model" "$home/$name.tflite"
	# Both in the images' folder: the paths in the answers are the same then.
	on_device env --chdir=/home/pi/photos /home/pi/kit/env/bin/kit-label "/home/pi/$name.tflite" \
		--self-test . "${every_score[@]}" >"$work/$name.device" || [ $? = 1 ]
	(cd "$images" && PYTHONPATH="$here/../../.." "$reference/bin/python" -m kit.device "$model" . \
		"${every_score[@]}" >"$work/$name.here") || [ $? = 1 ]
	"$python" "$here/compare.py" "$model" "$work/$name.device" "$work/$name.here"
done

# Thresholds of this place, then its results: a copy of each folder, with the same relative paths.
mkdir "$work/place"
cp "$1" "$work/place/model.tflite"
cp -r "$labelled" "$work/place/labelled"
cp -r "$work/place" "$home/place"
device_label=(on_device env --chdir=/home/pi/place /home/pi/kit/env/bin/kit-label)
here_label() {
	(cd "$work/place" && PYTHONPATH="$here/../../.." "$reference/bin/python" -m kit.device "$@")
}
calibrate=(model.tflite labelled --calibrate clinic.tflite --positive "$positive"
	--target-sensitivity 0.8 --confidence 0.9 --note "Ward 3")
"${device_label[@]}" "${calibrate[@]}" >"$work/calibrated.device"
here_label "${calibrate[@]}" >"$work/calibrated.here"
cmp "$work/calibrated.device" "$work/calibrated.here"
cards() { (cd "$1/place" && unzip -p clinic.tflite kit.json | "$python" -m json.tool); }
cmp "$home/place/clinic.tflite" "$work/place/clinic.tflite" ||
	{ diff <(cards "$home") <(cards "$work"); exit 1; }
echo "calibrate: the same bytes"
"${device_label[@]}" clinic.tflite labelled --output results.csv --audit audit.jsonl
cp "$home/place/results.csv" "$home/place/audit.jsonl" "$work/place"
"${device_label[@]}" clinic.tflite --monitor results.csv >"$work/monitored.device" || [ $? = 1 ]
here_label clinic.tflite --monitor results.csv >"$work/monitored.here" || [ $? = 1 ]
cmp "$work/monitored.device" "$work/monitored.here"
echo "monitor: the same bytes"
here_label clinic.tflite model.tflite --output results.csv --audit audit.jsonl || [ $? = 1 ]
"$python" -c 'from kit.cli import main; main()' audit verify "$work/place/audit.jsonl"

on_device /home/pi/kit/env/bin/kit-label /home/pi/kit/model.tflite /home/pi/photos \
	--output /home/pi/results.csv || [ $? = 1 ]
grep -c , "$home/results.csv" | sed 's/$/ lines in results.csv/'
echo "$system: $(on_device dpkg --print-architecture), $(on_device python3 --version)"
