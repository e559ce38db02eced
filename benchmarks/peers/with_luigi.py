"""Luigi: its local scheduler; a task's target is a file."""

import subprocess
import sys
from pathlib import Path

import luigi

DAG = {name: needs for name, *needs in map(str.split, open(sys.argv[1]))}


class Task(luigi.Task):
    name = luigi.Parameter()

    def requires(self):
        return [Task(need) for need in DAG[self.name]]

    def output(self):
        return luigi.LocalTarget(f"out/{self.name}")

    def run(self):
        subprocess.run(["/bin/true"], check=True)
        Path("out", self.name).touch()


if __name__ == "__main__":
    Path("out").mkdir()
    tasks = [Task(name) for name in DAG]
    luigi.build(tasks, local_scheduler=True, workers=int(sys.argv[2]), log_level="CRITICAL")
    assert len(list(Path("out").iterdir())) == len(DAG)
