"""The world is one's own: a process that is forked makes ids that its parent and its siblings do not make."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
from archstone import world

for _ in range(2):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, world.random().getrandbits(74).to_bytes(10, "big").hex().encode())
        os._exit(0)
    os.wait()
    print(os.read(reading, 100).decode())
print(world.random().getrandbits(74).to_bytes(10, "big").hex())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_of_one_process_have_a_chance_of_their_own() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert len(set(done.stdout.split())) == 3
