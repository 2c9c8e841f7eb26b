"""Worker processes with a time limit; the last output of a failed one is its reason."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from worker import ANSWER

_WORKER = Path(__file__).with_name("worker.py")


# Results are read elsewhere, where the folders of this machine mean nothing.
_FOLDERS = re.compile(r"(?<!\S)(/[\w.+-]+)+/")


class Failed(Exception):
    """A job failed; the text is the reason."""


class JaxWorker:
    """A worker.py process, started by the first question and restarted after a failure."""

    def __init__(self, platform: str, cpu_devices: int = 1, *team: int, **environment: str):
        """`team`: port, number of processes and number of this one, for jax.distributed."""
        self._arguments = [platform, *map(str, (cpu_devices, *team))]
        self._environment = environment
        self._process = None

    def ask(self, task: str, seconds: float, **question):
        """Return the answer to a question, with a timeout of `seconds`."""
        self.send(task, **question)
        return self.answer(seconds)

    def send(self, task: str, **question):
        if self._process is None or self._process.poll() is not None:
            self._start()
        line = json.dumps({"task": task} | question) + "\n"
        self._errors.seek(0, os.SEEK_END)
        self._silent_until = self._errors.tell()
        with contextlib.suppress(BrokenPipeError):  # The end of the worker is detected in answer().
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def answer(self, seconds: float):
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise Failed(f"no result within {seconds:.0f} s") from None
            if answer is None:
                why = _ending(self._process.wait(), self._errors, self._silent_until)
                self.stop()
                raise Failed(why)
            if answer.startswith(ANSWER):
                break
        answer = json.loads(answer[len(ANSWER) :])
        if "error" in answer:
            raise Failed(_shortened(answer["error"]))
        return answer["answer"]

    def stop(self):
        """End the process, which frees its device memory."""
        if self._process is not None:
            _end(self._process)
            self._errors.close()
        self._process = None

    def _start(self):
        environment = os.environ | self._environment
        environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
        environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._lines = queue.SimpleQueue()
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()


class JaxTeam:
    """Workers with one device each, which work together by jax.distributed."""

    def __init__(self, platform: str, count: int):
        self._platform, self._count = platform, count
        self._workers = []

    def ask(self, task: str, seconds: float, **question):
        """Return the first worker's answer; after a failure of any worker, all start anew."""
        if not self._workers:
            with socket.socket() as free:
                free.bind(("localhost", 0))
                port = free.getsockname()[1]
            team = port, self._count
            self._workers = [
                JaxWorker(self._platform, 1, *team, number, XLA_PYTHON_CLIENT_MEM_FRACTION="0.85")
                for number in range(self._count)
            ]
        for worker in self._workers:
            worker.send(task, **question)
        deadline = time.monotonic() + seconds
        try:
            answers = [
                worker.answer(max(0.1, deadline - time.monotonic())) for worker in self._workers
            ]
        except Failed:
            self.stop()
            raise
        return answers[0]

    def stop(self):
        for worker in self._workers:
            worker.stop()
        self._workers = []


def run_program(command: list[str], seconds: float, environment: dict) -> str:
    """Return the output of a program."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"no result within {seconds:.0f} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise Failed(_ending(process.returncode, errors))
    return output


def _read(process, lines):
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _end(process):
    """End a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(status: int, errors, begin: int = 0) -> str:
    """Describe how a process ended, with its last line in `errors` after `begin`."""
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    errors.seek(begin)
    lines = [line.strip() for line in errors if line.strip()]
    return _shortened(f"the process ended {how}" + (f": {lines[-1]}" if lines else ""))


def _shortened(text: str, most: int = 300) -> str:
    text = " ".join(_FOLDERS.sub("", text).split())
    return text if len(text) <= most else text[: most - 3] + "..."
