"""A cable that takes its time: carries frames between two TAP devices, each after a delay.

Run as a file, with the standard library only: one of these stays in memory per delayed lab.
Usage: delaylink.py TAP TAP SECONDS; it begins when it reads a byte from stdin, and prints a line
when both devices are there. They go when it ends.
"""

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME = 65536
AT_ONCE = 64  # frames taken from one side before the other gets its turn


def tap(name: str) -> int:
    """Make a TAP device; it lasts as long as the file descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def carry(ends: tuple[int, int], seconds: float) -> None:
    """Carry frames between both ends for ever."""
    underway: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    while True:
        for start, frames in underway.items():
            while frames and frames[0][0] <= time.monotonic():
                # Refused while a device is down: what a pulled cable does to a frame.
                with contextlib.suppress(OSError):
                    os.write(other[start], frames.popleft()[1])
        due = [frames[0][0] for frames in underway.values() if frames]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for start in select.select(ends, [], [], wait)[0]:
            with contextlib.suppress(OSError):
                for _ in range(AT_ONCE):
                    frame = os.read(start, FRAME)
                    underway[start].append((time.monotonic() + seconds, frame))


def main(one: str, two: str, seconds: str) -> int:
    """Wait for the word to go, make both devices and carry."""
    # As the keeper does: nothing runs that `stackpin lab down` could not find.
    if not os.read(0, 1):
        return 1
    ends = (tap(one), tap(two))
    # A cable does not wait for a processor: what is measured over it must not include that.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    os.write(1, b"ready\n")
    carry(ends, float(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
