#!/usr/bin/env python3
"""How long a log of ratings takes from CSV to zstd Parquet, beside polars; see README.md.

Needs Python's standard library alone; polars is installed with pip into a folder of its own.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLARS = "polars==1.35.2"
ITEMS = 20_000
# Ratings of a user, about: the file is sorted by user, as MovieLens is.
OF_USER = 144
# What ours does beside: rows checked, ids numbered and kept, shards committed, outputs hashed and copied for people.
PEER = """
import sys, polars
polars.read_csv(sys.argv[1]).write_parquet(sys.argv[2], compression="zstd", compression_level=3)
"""


def generate(folder, rows):
    draw = random.Random(0)
    with open(folder / "movies.csv", "w") as movies:
        movies.write("movieId,title,genres\n")
        movies.writelines(f"{item},Film {item} (1999),Drama\n" for item in range(1, ITEMS + 1))
    with open(folder / "ratings.csv", "w") as ratings:
        ratings.write("userId,movieId,rating,timestamp\n")
        for start in range(0, rows, 100_000):
            ratings.writelines(
                f"{row // OF_USER + 1},{draw.randrange(ITEMS) + 1},{draw.randrange(1, 11) / 2},{draw.randrange(10**9, 2 * 10**9)}\n"
                for row in range(start, min(start + 100_000, rows))
            )


def measured(command, folder):
    """Seconds by the clock, seconds of processors, and peak resident MB."""
    started = time.monotonic()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed:\n{error.decode()}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=pathlib.Path, help="a folder to install polars into; without it ours alone")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/apprentice")
    options = parser.parse_args()
    program = str(options.program.resolve())
    python = None
    if options.peers:
        python = options.peers.resolve() / "polars/bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", POLARS], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "ml").mkdir()
        generate(folder / "ml", options.rows)
        size = (folder / "ml/ratings.csv").stat().st_size / 1e6
        print(f"{options.rows} rows, {size:.0f} MB, {os.cpu_count()} cores")
        (folder / "x.yaml").write_text(
            "name: x\nassets:\n  ml: { from: [{ path: ml/ }] }\n"
            "stages:\n  log: { use: ingest.movielens, with: { asset: ml } }\n"
        )
        results = {}
        for _ in range(options.rounds):
            shutil.rmtree(folder / "artifacts", ignore_errors=True)
            results.setdefault("apprentice run", []).append(measured([program, "run", "x.yaml", "-q"], folder))
            if python:
                command = [str(python), "-c", PEER, "ml/ratings.csv", "polars.parquet"]
                results.setdefault("polars", []).append(measured(command, folder))
        print("\n| command | seconds, median (all) | processor seconds, median (all) | peak MB |\n|---|---:|---:|---:|")
        for label, runs in results.items():
            wall, processor, peak = zip(*runs)
            print(f"| `{label}` | {listed(wall)} | {listed(processor)} | {max(peak):.0f} |")


def listed(seconds):
    every = ", ".join(f"{second:.2f}" for second in seconds)
    return f"{statistics.median(seconds):.2f} ({every})"


if __name__ == "__main__":
    main()
