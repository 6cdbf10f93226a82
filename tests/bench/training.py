#!/usr/bin/env python3
"""Gradient steps of ours and of JAX and PyTorch, in turns, so that a busy machine is busy for all. See README.md.

Every program prints one JSON line a measurement. With one thread a program is held on one core: JAX's own switch leaves it two.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]

STEPS = ["bc", "cql", "airl-32", "airl-256", "gru", "sampled"]

# The peers' scripts, the environment that runs each, and what it is asked for beside.
PEERS = {
    "jax": ("jax", ["training_jax.py"]),
    "torch": ("torch", ["training_torch.py"]),
    "compile": ("torch", ["training_torch.py", "--program", "compile"]),
}

# `torch.compile` refuses sparse gradients: "Cannot access storage of SparseTensorImpl".
REFUSED = {"compile": ["sampled"]}


def built():
    """The bench's program, built if it must be."""
    command = ["cargo", "bench", "--locked", "--workspace", "--bench", "training", "--no-run"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return ROOT / re.search(r"tests/bench/training\.rs \((.+)\)", done.stderr).group(1)


class Program:
    """A program that measures the steps it is told, started once: what it imports takes longer than what is measured."""

    def __init__(self, command, threads, budget, imports, refused=()):
        self.refused = refused
        self.command, cores = [*map(str, command), "--threads", str(threads), "--what", "-"], sorted(os.sched_getaffinity(0))
        self.process = subprocess.Popen(
            self.command,
            cwd=FOLDER,
            env=dict(os.environ, BENCH_BUDGET_S=str(budget), CUDA_VISIBLE_DEVICES="", PYTHONDONTWRITEBYTECODE="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores[:threads]),
        )
        if imports:
            self.process.stdout.readline()

    def measure(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.command)} ended at {what}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def table(found, peaks):
    """Of each step and program: the medians over the rounds, what share of the processors' peak its products alone come to, and how
    many times as long as ours it takes."""
    print("\n| step | hidden | threads | program | best ms | median ms | processor ms | share of the peak | ours is faster |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|")
    for (bench, hidden, threads), programs in found.items():
        own = statistics.median(line["ms_median"] for line in programs["apprentice"])
        gflop = programs["apprentice"][0]["gflop"]
        for program, all_ in programs.items():
            best = min(line["ms_min"] for line in all_)
            median = statistics.median(line["ms_median"] for line in all_)
            processor = statistics.median(line["cpu_ms_mean"] for line in all_)
            share = 1e3 * gflop / median / max(peaks[threads])
            times = f"{best:.2f} | {median:.2f} | {processor:.2f} | {share:.2f} | {median / own:.2f}"
            print(f"| {bench} | {hidden} | {threads} | {program} | {times} |")
    for threads, peak in peaks.items():
        print(f"\nPeak of products alone, {threads} threads: {max(peak):.0f} GFLOP/s (of each round: {[round(p) for p in peak]}).")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder with the virtual environments `jax` and `torch`")
    parser.add_argument("--only", default=",".join(PEERS), help="peers to run")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--ours", help="the built bench; cargo builds it where this is not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=4, help="seconds a measurement")
    parser.add_argument("--threads", default="1,2")
    given = parser.parse_args()
    ours, found, peaks = given.ours or built(), {}, {}
    for round_ in range(given.rounds):
        for threads in map(int, given.threads.split(",")):
            programs = [Program([ours], threads, given.budget, False)]
            for peer in filter(None, given.only.split(",")):
                environment, command = PEERS[peer]
                command = [given.peers / environment / "bin" / "python", *command]
                programs.append(Program(command, threads, given.budget, True, REFUSED.get(peer, ())))
            line = programs[0].measure("peak")
            print(json.dumps(line | {"round": round_}), flush=True)
            peaks.setdefault(threads, []).append(line["gflops"])
            for what in given.steps.split(","):
                for program in (program for program in programs if what not in program.refused):
                    line = program.measure(what) | {"round": round_, "load": os.getloadavg()[0]}
                    print(json.dumps(line), flush=True)
                    step = (line["bench"], line["hidden"], threads)
                    found.setdefault(step, {}).setdefault(line["impl"], []).append(line)
            for program in programs:
                program.end()
    table(found, peaks)


if __name__ == "__main__":
    main()
