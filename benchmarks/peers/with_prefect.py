"""Prefect: a flow with its thread runner and the server that it starts by itself."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.update(
    PREFECT_HOME=str(Path.home() / "prefect"),
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_ANALYTICS_ENABLED="0",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
)

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


@task
def work(name):
    subprocess.run(["/bin/true"], check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=int(sys.argv[2])))
def all_of_it():
    futures = {}
    for line in open(sys.argv[1]):
        name, *needs = line.split()
        futures[name] = work.submit(name, wait_for=[futures[need] for need in needs])
    for future in futures.values():
        future.result()


if __name__ == "__main__":
    all_of_it()
