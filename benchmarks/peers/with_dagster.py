"""Dagster: a job of ops, run in its process (with a process for each step it takes some fifty times as long)."""

import os
import subprocess
import sys

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"

from dagster import (
    DagsterInstance,
    DependencyDefinition,
    GraphDefinition,
    In,
    Nothing,
    Out,
    in_process_executor,
    op,
)


def step(name, needs):
    @op(name=name, ins={f"after_{i}": In(Nothing) for i in range(len(needs))}, out=Out(Nothing))
    def work():
        subprocess.run(["/bin/true"], check=True)

    return work


if __name__ == "__main__":
    dag = {name: needs for name, *needs in map(str.split, open(sys.argv[1]))}
    graph = GraphDefinition(
        "all_of_it",
        node_defs=[step(name, needs) for name, needs in dag.items()],
        dependencies={
            name: {f"after_{i}": DependencyDefinition(need) for i, need in enumerate(needs)}
            for name, needs in dag.items()
        },
    )
    with DagsterInstance.local_temp(os.getcwd()) as instance:
        assert graph.to_job(executor_def=in_process_executor).execute_in_process(instance=instance).success
