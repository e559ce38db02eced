"""How far a task is: what real programs write, and what only looks like it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import track

from wattle_jupyter.gauge import TAIL, Progress, percent, read

TQDM = (
    "\rload:  41%|████      | 41/100 [00:00<00:00, 264.76it/s]\rload:  42%|████▏     | 42/100 [00:00<00:00, 291.59it/s]"
)
NESTED = (
    "\router:  67%|██████▋   | 2/3 [00:00<00:00, 15.54it/s]\n\rinner:   0%|          | 0/5 [00:00<?, ?it/s]\x1b[A"
    "\n\rinner:  20%|██        | 1/5 [00:00<00:00, 80.57it/s]\x1b[A"
)
CURL = (
    "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n"
    "                                 Dload  Upload   Total   Spent    Left  Speed\n"
    "\r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0"
    "\r 54 60.0M   54 32.9M    0     0  19.9M      0  0:00:03  0:00:01  0:00:02 19.9M"
)
KERAS_2 = (
    "Epoch 3/10\n" + "\r 41/100 [===>..........] - ETA: 3s - loss: 0.3" + "\x08" * 40 + "\r 42/100 [====>.........]"
)
KERAS_3 = (
    "Epoch 3/10\n\r\x1b[1m42/100\x1b[0m \x1b[32m━━━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━━━\x1b[0m \x1b[1m3s\x1b[0m 31ms/step"
)
RICH = "\r\x1b[2KWorking... \x1b[91m━━━━━━\x1b[0m\x1b[90m╺━━━━━\x1b[0m \x1b[35m 42%\x1b[0m \x1b[36m0:00:01"
PIP = "\r\x1b[2K   \x1b[91m━━━━━━\x1b[0m\x1b[91m╸\x1b[0m\x1b[90m━━\x1b[0m \x1b[32m3.0/12.0 MB\x1b[0m \x1b[31m5 MB/s"

FOUND = {
    "our marker": ("::wattle progress=40::\n", 0.4, ""),
    "our marker with a fraction": ("::wattle progress=40.5::\n", 0.405, ""),
    "our marker with a sign": ("::wattle progress=40%::\n", 0.4, ""),
    "our marker as a count": ("so far: ::wattle progress=3/8::", 3 / 8, "3/8"),
    "our last marker": ("::wattle progress=40::\n::wattle progress=50::\nnoise\n", 0.5, ""),
    "our last marker that makes sense": ("::wattle progress=40::\n::wattle progress=140::\n", 0.4, ""),
    "our marker before a bar": ("::wattle progress=40::\n" + TQDM, 0.4, ""),
    "tqdm": (TQDM, 0.42, "42/100"),
    "tqdm at its end": ("\r100%|██████████| 4.77M/4.77M [00:00<00:00, 13.8MB/s]\n", 1.0, "4.77M/4.77M"),
    "tqdm with units": ("\r 86%|████████▌ | 4.10M/4.77M [00:00<00:00, 39.9MB/s]", 4.10 / 4.77, "4.10M/4.77M"),
    "tqdm with other units": (" 50%|█████     | 600k/1.20M [00:00<00:00, 39.9MB/s]", 0.5, "600k/1.20M"),
    "tqdm in ASCII": ("\r 42%|####2     | 42/100 [00:10<00:14,  4.10it/s]", 0.42, "42/100"),
    "nested tqdm": (NESTED, 2 / 3, "2/3"),
    "tqdm of an epoch": ("\rEpoch 3/10:  50%|█████     | 50/100 [00:10<00:10, 5.1it/s]", 0.25, "epoch 3/10"),
    "Lightning": ("\rEpoch 3:  42%|████▏     | 42/100 [00:10<00:14,  4.10it/s, v_num=0]", 0.42, "42/100"),
    "Keras 2": (KERAS_2, 0.242, "epoch 3/10"),
    "Keras 3": (KERAS_3, 0.242, "epoch 3/10"),
    "a new epoch": (TQDM + "\nEpoch 4/10\n", 0.3, "epoch 4/10"),
    "an epoch from zero": ("Epoch 0/10\n", 0.0, "epoch 0/10"),
    "rich": (RICH, 0.42, ""),
    "pip": (PIP, 0.25, "3.0/12.0 MB"),
    "curl": (CURL, 0.54, ""),
    "curl with a bar": ("\r##############                 42.6%", 0.426, ""),
    "wget": ("\rbig.bin     42%[=======>            ]  42.00M  90.9MB/s    eta 3s    ", 0.42, ""),
    "wget into a file": (" 1150K .......... .......... .......... .......... .......... 42% 1.19G 0s\n", 0.42, ""),
    "snakemake": ("[Sat Nov 21 21:34:28 2026]\nFinished job 4.\n3 of 10 steps (30%) done\n", 0.3, "3/10"),
    "nextflow": ("[ab/123456] process > ALIGN (3) [ 42%] 3 of 7\n[ 42%] 3 of 7\n", 0.42, ""),
    "cmake": ("[ 42%] Building CXX object CMakeFiles/x.dir/src/a1.cpp.o\n", 0.42, ""),
    "pytest": ("tests/test_a.py ..........            [ 42%]\n", 0.42, ""),
    "ninja": ("[3/10] Building CXX object src/CMakeFiles/9/10/x.o\n", 0.3, "3/10"),
    "docker": ("#7 [stage-0 3/10] RUN pip install -r requirements.txt\n", 0.3, "3/10"),
    "yarn": ("[3/4] Linking dependencies...\r\n", 0.75, "3/4"),
    "git": ("\rReceiving objects:  42% (420/1000), 1.20 MiB | 2.00 MiB/s", 0.42, "420/1000"),
    "rsync": ("\r     42,000,000  42%    5.10MB/s    0:00:10", 0.42, ""),
    "R": ("\r  |                    |   0%\r  |========            |  42%", 0.42, ""),
    "dask": ("\r[################                        ] | 42% Completed | 10.11 s", 0.42, ""),
    "a step": ("Step 3/10 : RUN apt-get update\n", 0.3, "3/10"),
    "a file": ("Processing file 3 of 10: a.csv\n", 0.3, "3/10"),
    "a counter that is rewritten": ("\rrow 1/10\rrow 3/10", 0.3, "3/10"),
    "a bare counter that is rewritten": ("\r1 / 10\r3 / 10", 0.3, "3/10"),
    "words": ("Progress: 42.5%\n", 0.425, ""),
    "other words": ("42 % complete\n", 0.42, ""),
    "the newest of two": ("[9/10] Building\n" + TQDM, 0.42, "42/100"),
    "an older one under lines without": (TQDM + "\nsaved model to /out/3/10/model.bin\n", 0.42, "42/100"),
}  # fmt: skip

NOTHING = [
    "", "\n", "\r\r\r", "no numbers\n", "11/21/2026 10:00:00 INFO hello\n", "2026-11-21 10:00:00\n", "21/11/2026\n",
    "on 11/21 it began\n", "reads /data/3/10/x.csv\n", "GET /api/v1/2 200\n", "Python 3.11, numpy 1.26/2.0\n", "v1/2\n",
    "1/2\n", "score 3/10\n", "about 1/2 of them\n", "a 3/4 inch pipe\n", "step 3/10/2026\n", "file 3/10.csv\n",
    "CPU 42%\n", "accuracy 42%\n", "disk is 42% full\n", "======= coverage 42% =======\n", "100% sure\n", "u%20w\n",
    "::wattle progress=::\n", "::wattle progress=abc::\n", "::wattle progress=140::\n", "::wattle progress=9/8::\n",
    "::wattle progress=1/0::\n", "\r12/10", "step 12 of 10\n", "\rloss 12% accuracy 88%", "\r2026/11/21", "\r10:00:00",
    "  0     0    0 42.0M    0     0  5120k      0 --:--:--  0:00:08 --:--:-- 5230k\n", "\r42it [00:10, 4.1it/s]",
    "step 1 of the plan\n", "item 5\n", "[12/10] Building\n", "[INFO] 3/10 of /usr/bin/10/20\n", "batch 3/1024x\n",
    "\rcopy /a/3/10/b", "192.168.1.1/24\n", "epoch 12/10\n",
]  # fmt: skip


@pytest.mark.parametrize(("log", "fraction", "text"), FOUND.values(), ids=FOUND.keys())
def test_what_a_program_says_is_understood(log: str, fraction: float, text: str) -> None:
    found = read(log.encode())
    assert found is not None
    assert found.fraction == pytest.approx(fraction)
    assert found.text == text


@pytest.mark.parametrize("log", NOTHING)
def test_what_is_no_progress_is_not_taken_for_it(log: str) -> None:
    assert read(log.encode()) is None


def test_a_bar_of_rich_is_read_as_it_is_drawn() -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=80)
    for n in track(range(20), console=console, update_period=1e-6):
        if n == 10:
            found = read(drawn.getvalue().encode())
    assert found is not None
    assert 0 <= found.fraction <= 1
    assert read(drawn.getvalue().encode()) == Progress(1.0)


def test_what_was_said_stays_until_something_else_is_said() -> None:
    before = read(TQDM.encode())
    assert read(b"loading the next file\n", before) == before
    assert read(b"[1/4] Linking\n", before) == read(b"[1/4] Linking\n")


def test_a_task_that_has_said_it_by_a_marker_is_believed_this_way_only() -> None:
    before = read(b"::wattle progress=3/8::\n")
    assert read(TQDM.encode(), before) == before
    assert read(b"::wattle progress=4/8::\n" + TQDM.encode(), before) == read(b"::wattle progress=4/8::\n")


def test_an_epoch_that_has_gone_out_of_sight_still_counts() -> None:
    before = read(KERAS_2.encode())
    found = read(b"\r 84/100 [=======>..]", before)
    assert found is not None
    assert found.fraction == pytest.approx(0.284)
    assert read(b"saved\n", found) == found


def test_a_number_that_is_cut_at_the_beginning_is_not_read() -> None:
    log = b"\r98/100" + b"\rx" * (TAIL // 2)
    assert read(log[-TAIL:]) is None
    assert read(b"9" * 10 + b"[7/8] a\n" + b"[5/8] b".ljust(TAIL - 5, b" ")) == read(b"[5/8] b\n")


def test_a_hundred_per_cent_is_said_of_the_end_only() -> None:
    assert [percent(f) for f in (0, 0.29, 0.42, 0.9999, 1)] == ["0 %", "29 %", "42 %", "99 %", "100 %"]


PARTS = st.sampled_from(
    [
        *(log for log, _, _ in FOUND.values()),
        *NOTHING,
        "\x1b[A",
        "\x1b[2K",
        "\r",
        "\n",
        "%",
        "/",
        "::",
        "9" * 400,
        "███",
    ]
)


@given(st.lists(st.one_of(PARTS, st.text(max_size=40)), max_size=12), st.integers(0, 40), st.integers(0, 40))
def test_whatever_a_log_holds_there_is_a_fraction_or_nothing(parts: list[str], start: int, end: int) -> None:
    data = "".join(parts).encode("utf-8", "surrogatepass")
    before = None
    for piece in (data[start:], data[: len(data) - end], data):
        before = read(piece, before)
        if before is not None:
            assert 0 <= before.fraction <= 1
            assert (before.done is None) == (before.total is None)
            assert len(before.text) <= 40
            assert not set(before.text) - set("0123456789./ kKMGTPiBepoch")


@given(st.binary(max_size=2 * TAIL))
def test_any_bytes_are_read(data: bytes) -> None:
    found = read(data)
    assert found is None or 0 <= found.fraction <= 1
