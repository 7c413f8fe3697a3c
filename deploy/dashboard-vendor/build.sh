#!/usr/bin/env bash
# Makes the dashboard's vendor folder anew from npm, by the lock file; needs Node. Nobody needs it to run the broker: what
# it makes is committed. To take newer versions: npm update --omit-lockfile-registry-resolved, then this.
set -euo pipefail
cd "$(dirname "$0")"
out=../../services/broker/broker/dashboard/vendor

npm ci --silent --no-audit --no-fund --ignore-scripts
rm -rf "$out"
mkdir -p "$out"
for part in view editor; do
    node_modules/.bin/esbuild "$part.js" --bundle --format=esm --minify --target=es2022 --legal-comments=none \
        --outfile="$out/$part.js" --log-level=warning
done
for font in next mono; do
    cp "node_modules/@fontsource-variable/atkinson-hyperlegible-$font/files/atkinson-hyperlegible-$font-latin-wght-normal.woff2" \
        "$out/atkinson-$font.woff2"
done
# What is in there, by name, version and licence; then the licences themselves, each text once.
node notice.js >"$out/NOTICE.txt"
