"""PESQ (ITU-T P.862.2, wideband) and STOI of recordings against what was said.

Reads "reference.wav recorded.wav delay_ms" lines, writes "pesq stoi" lines. A delay of "find" is
looked for by correlation.
Wants the packages pesq and pystoi.
"""

import sys

import numpy
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from scipy.io import wavfile
from scipy.signal import correlate, resample_poly

RATE = 16000


def read(path):
    rate, samples = wavfile.read(path)
    samples = samples.astype(numpy.float64) / 32768.0
    return resample_poly(samples, RATE, rate)


def lag(reference, recorded):
    """Samples by which the recording is later."""
    correlation = correlate(recorded, reference, mode="full", method="fft")
    return max(0, int(numpy.argmax(correlation)) - (len(reference) - 1))


for line in sys.stdin:
    reference_path, recorded_path, delay = line.split()
    reference, recorded = read(reference_path), read(recorded_path)
    found = delay == "find"
    late = lag(reference, recorded) if found else int(float(delay) * RATE / 1000)
    recorded = recorded[max(0, late) :]
    length = min(len(reference), len(recorded))
    reference, recorded = reference[:length], recorded[:length]
    try:
        quality = pesq(RATE, reference, recorded, "wb")
    except NoUtterancesError:
        quality = 1.0
    print(f"{quality:.3f} {stoi(reference, recorded, RATE):.4f}", flush=True)
