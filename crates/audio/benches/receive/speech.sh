#!/bin/sh
# Recorded speech for the bench, 30 s of 48 kHz mono: ten seconds each of a woman in English, a man
# in Italian and a woman in French, from the prompts that Debian ships (CC BY-SA 3.0).
# Wants apt-get, dpkg-deb and ffmpeg.   speech.sh speech.wav
set -eu
out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for language in en it fr; do
    apt-get download -q "asterisk-core-sounds-$language-g722" >/dev/null
    dpkg-deb -x "asterisk-core-sounds-$language-g722"*.deb .
done
sounds=usr/share/asterisk/sounds
ffmpeg -loglevel error -y \
    -i "$sounds/en_US_f_Allison/demo-instruct.g722" \
    -i "$sounds/it_IT_m_Carlo/demo-congrats.g722" \
    -i "$sounds/fr_CA_f_June/demo-instruct.g722" \
    -filter_complex "[0]atrim=0:10[a];[1]atrim=0:10[b];[2]atrim=0:10[c];[a][b][c]concat=n=3:v=0:a=1" \
    -ar 48000 -ac 1 "$out"
