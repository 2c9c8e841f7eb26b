"""Worker process for measurements in JAX, controlled by lines of JSON on standard input.

    python benchmarks/worker.py PLATFORM CPU_DEVICES [PORT PROCESSES NUMBER]

The last arguments make it one of several processes with a device each. It is separate from run.py:
a crash, a hang or leaked memory ends with it. Answers are the lines on standard output that begin
with ANSWER.
"""

import json
import sys
import traceback

import jax

ANSWER = "@answer "


def main():
    platform, (cpu_devices, *team) = sys.argv[1], map(int, sys.argv[2:])
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", cpu_devices)
    if platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if team:
        port, processes, number = team
        devices = [number] if platform != "cpu" else None
        jax.distributed.initialize(f"localhost:{port}", processes, number, local_device_ids=devices)

    from jaxmg._tools.bench import measure

    for line in sys.stdin:
        question = json.loads(line)
        task = getattr(measure, question.pop("task"))
        try:
            problem = question.pop("problem", None)
            arguments = [] if problem is None else [measure.Problem(**problem)]
            answer = {"answer": task(*arguments, **question)}
        except Exception as error:  # Any error is the outcome of this job.
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print("\n" + ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
