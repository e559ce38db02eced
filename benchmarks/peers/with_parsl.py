"""Parsl: bash apps on its thread executor."""

import sys

import parsl
from parsl import bash_app
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor


@bash_app
def task(name, inputs=()):
    return "/bin/true"


if __name__ == "__main__":
    executors = [ThreadPoolExecutor(max_threads=int(sys.argv[2]))]
    parsl.load(Config(executors=executors, run_dir="runinfo", initialize_logging=False, usage_tracking=0))
    futures = {}
    for line in open(sys.argv[1]):
        name, *needs = line.split()
        futures[name] = task(name, inputs=[futures[need] for need in needs])
    assert all(future.result() == 0 for future in futures.values())
    parsl.dfk().cleanup()
