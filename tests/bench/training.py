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

ROOT = Path(__file__).resolve().parents[2]

# What is asked of our bench, of the peers' JAX script, and of their PyTorch scripts.
STEPS = [
    ("bc", ["--what", "bc"], ["bench_cql_torch.py", "--what", "bc"]),
    ("cql", ["--what", "cql"], ["bench_cql_torch.py", "--what", "cql"]),
    ("airl", ["--what", "airl", "--airl-hidden", "32"], ["bench_airl.py", "--impl", "torch", "--hidden", "32"]),
    ("airl", ["--what", "airl", "--airl-hidden", "256"], ["bench_airl.py", "--impl", "torch", "--hidden", "256"]),
    ("gru", ["--what", "gru"], ["bench_gru.py"]),
]


def built():
    """The bench's program, built if it must be."""
    command = ["cargo", "bench", "--locked", "--workspace", "--bench", "training", "--no-run"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return ROOT / re.search(r"tests/bench/training\.rs \((.+)\)", done.stderr).group(1)


def lines(command, threads, budget, folder=None):
    """What a program measured."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    environment = dict(os.environ, BENCH_BUDGET_S=str(budget), CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        [*command, "--threads", str(threads)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=Path, required=True, help="folder with the peers' bench_jax.py and its like")
    parser.add_argument("--peers", type=Path, required=True, help="folder with the virtual environments `jax` and `torch`")
    parser.add_argument("--only", default="jax,torch", help="peers to run")
    parser.add_argument("--ours", help="the built bench; cargo builds it where this is not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=4, help="seconds a measurement")
    parser.add_argument("--threads", default="1,2")
    given = parser.parse_args()
    ours, only = given.ours or built(), given.only.split(",")
    python = {name: given.peers / name / "bin" / "python" for name in only}
    found = {}
    for round_ in range(given.rounds):
        for threads in map(int, given.threads.split(",")):
            seen = set()
            for what, jax, torch in STEPS:
                commands = [] if what in seen else [([ours, "--what", what], None)]
                seen.add(what)
                if "jax" in only:
                    commands.append(([python["jax"], "bench_jax.py", *jax], given.scripts))
                if "torch" in only:
                    commands.append(([python["torch"], *torch], given.scripts))
                for command, folder in commands:
                    for line in lines(command, threads, given.budget, folder):
                        print(json.dumps({**line, "round": round_}), flush=True)
                        step = (line["bench"], line["hidden"], threads)
                        found.setdefault(step, {}).setdefault(line["impl"], []).append(line)
    print("\n| step | hidden | threads | program | best ms | median ms | processor ms | ours is faster: median | processor |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|")
    for (bench, hidden, threads), programs in found.items():
        of = {}
        for program, all_ in programs.items():
            best = min(line["ms_min"] for line in all_)
            median = statistics.median(line["ms_median"] for line in all_)
            processor = statistics.median(line.get("cpu_ms_mean", line.get("cpu_ms_median", 0)) for line in all_)
            of[program] = (best, median, processor)
        for program, (best, median, processor) in of.items():
            _, own_median, own_processor = of["apprentice"]
            ratios = f"{median / own_median:.2f} | {processor / max(own_processor, 1e-9):.2f}"
            print(f"| {bench} | {hidden} | {threads} | {program} | {best:.2f} | {median:.2f} | {processor:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
