"""The shapes of work, and how other programs want them written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Dag = Mapping[str, list[str]]
"""Task → what it waits for; upstream first."""


def independent(count: int) -> Dag:
    return {f"t{i}": [] for i in range(count)}


def layered(count: int) -> Dag:
    """Ten layers; each task waits for two of the layer before."""
    width = count // 10
    return {
        f"t{layer}_{i}": list(dict.fromkeys((f"t{layer - 1}_{i}", f"t{layer - 1}_{(i + 1) % width}"))) if layer else []
        for layer in range(10)
        for i in range(width)
    }


def chain(count: int) -> Dag:
    return {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(count)}


SHAPES: Mapping[str, Callable[[int], Dag]] = {"independent": independent, "layered": layered, "chain": chain}


def spec(dag: Dag, name: str, folder: Path) -> dict[str, object]:
    """As a workflow of ours."""
    tasks = {task: {"run": ["/bin/true"], "needs": needs} for task, needs in dag.items()}
    return {"name": name, "working_dir": str(folder), "tasks": tasks}


def write_text(dag: Dag, path: Path) -> Path:
    """One line a task: its name, then what it waits for."""
    path.write_text("".join(" ".join([task, *needs]) + "\n" for task, needs in dag.items()))
    return path


def write_ninja(dag: Dag, folder: Path) -> Path:
    folder.mkdir(parents=True)
    builds = "".join(f"build {task}: t {' '.join(needs)}\n" for task, needs in dag.items())
    (folder / "build.ninja").write_text(f"rule t\n  command = /bin/true\n{builds}")
    return folder


def read_text(path: str) -> dict[str, list[str]]:
    with Path(path).open() as file:
        return {task: needs for task, *needs in map(str.split, file)}
