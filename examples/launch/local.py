"""Run a program as one process for each GPU of this machine: python local.py COUNT PROGRAM.

The program is started COUNT times, with the arguments HOST:PORT COUNT NUMBER. If one process fails,
the others, which might wait for it, are terminated.
"""

import socket
import subprocess
import sys
import time

count, program = int(sys.argv[1]), sys.argv[2]
with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
command = [sys.executable, program, f"localhost:{port}", str(count)]
processes = [subprocess.Popen([*command, str(number)]) for number in range(count)]
try:
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            break
        time.sleep(0.1)
finally:
    for process in processes:
        process.kill()
sys.exit(max(abs(process.wait()) for process in processes))
