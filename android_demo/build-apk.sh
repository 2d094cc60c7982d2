#!/usr/bin/env bash
# build-apk.sh [MODEL]: the app as an APK, from Debian's and Maven Central's parts alone.
#   apt-get install maven openjdk-17-jdk-headless aapt android-framework-res zipalign apksigner
# Without MODEL it has the one in app/src/main/assets, or none. KEYSTORE: another key than the
# debug key that Android Studio uses too (its password in KEYSTORE_PASSWORD).
set -euo pipefail

model=$([ $# = 0 ] || realpath -- "$1")
if [ -n "${KEYSTORE:-}" ]; then
	[ -f "$KEYSTORE" ] || { echo "expected a keystore, found none: $KEYSTORE" >&2; exit 1; }
	KEYSTORE=$(realpath -- "$KEYSTORE")
fi
cd "$(dirname "$0")"
for program in mvn javac aapt zipalign apksigner; do
	command -v $program >/dev/null || { echo "expected $program, found none: see $0" >&2; exit 1; }
done
if [ -n "$model" ] && [ "$(dd if="$model" bs=1 skip=4 count=4 status=none)" != TFL3 ]; then
	echo "expected a .tflite model, got $model: give another" >&2
	exit 1
fi

# Compiles both modules and fetches what goes in; `mvn test` is for tests.
mvn --batch-mode --quiet clean package -Dmaven.test.skip=true
mvn --batch-mode --quiet --file tools.xml dependency:build-classpath \
	-Dmdep.outputFile="$PWD/app/target/tools.txt"
target=app/target
apk=$target/kit-label.apk
tools=$(cat $target/tools.txt)
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")

# An empty folder of its own: nothing of an earlier build gets in.
work=$target/apk
rm -rf $work && mkdir -p $work/assets
if [ -n "$model" ]; then
	cp -- "$model" $work/assets/model.tflite
else
	find app/src/main/assets -name '*.tflite' -exec cp {} $work/assets/ \;
fi

java -cp "$tools" proguard.ProGuard @tools.pro -include app/proguard-rules.pro \
	-injars $target/classes -injars $target/lib -outjars $work/classes.jar \
	-libraryjars "$jdk/jmods/java.base.jmod(!**.jar;!module-info.class)" \
	-libraryjars "$jdk/jmods/java.logging.jmod(!**.jar;!module-info.class)" \
	-libraryjars "$(cat $target/android-all.txt)(!META-INF/**,!kotlin/**)"
java -cp "$tools" com.android.dx.command.Main --dex --min-sdk-version=26 \
	--output=$work/classes.dex $work/classes.jar

# The model is stored, not deflated: the app maps it where it lies in the APK.
cp $target/resources.apk $work/unaligned.apk
cp -r $target/aar/lite/jni $work/lib
jar --update --no-manifest --no-compress --file $work/unaligned.apk -C $work assets
jar --update --no-manifest --file $work/unaligned.apk -C $work classes.dex -C $work lib
zipalign -f 4 $work/unaligned.apk $work/aligned.apk

key=${KEYSTORE:-$HOME/.android/debug.keystore}
export KEYSTORE_PASSWORD=${KEYSTORE_PASSWORD:-android}
if [ ! -e "$key" ]; then
	mkdir -p "$(dirname "$key")"
	keytool -genkeypair -keystore "$key" -storepass:env KEYSTORE_PASSWORD -alias androiddebugkey \
		-keyalg RSA -keysize 2048 -validity 10000 -dname "CN=Android Debug,O=Android,C=US" 2>/dev/null
fi
apksigner sign --ks "$key" --ks-pass env:KEYSTORE_PASSWORD --out $work/signed.apk $work/aligned.apk
mv $work/signed.apk $apk # beside, then renamed: an APK is whole or there is none
echo "$PWD/$apk"
