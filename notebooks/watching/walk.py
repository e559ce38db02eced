"""Particles that walk at random, faster the hotter it is; writes how far they spread. A line per hundred steps."""

import csv
import random
import sys
import time
from pathlib import Path

temperature, target = int(sys.argv[1]), Path(sys.argv[2])
target.parent.mkdir(parents=True, exist_ok=True)
chance = random.Random(temperature)
length = (temperature / 100) ** 0.5
particles = [0.0] * 200
with target.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["step", "spread"])
    for step in range(100, 1300, 100):
        for _ in range(100):
            particles = [at + length * chance.choice((-1, 1)) for at in particles]
        spread = (sum(at * at for at in particles) / len(particles)) ** 0.5
        table.writerow([step, f"{spread:.2f}"])
        far = sum(abs(at) > 60 for at in particles)
        print(f"step {step:>4} of 1200: spread {spread:6.2f}", flush=True)
        if far > 20:
            print(f"\033[33mwarning\033[0m: {far} particles are far out", flush=True)
        time.sleep(0.05)
