"""What the peers' steps share: their sizes, and how each is timed. See README.md."""

import argparse
import json
import os
import sys
import time

OBS, LOG, ACTIONS, HIDDEN, BATCH = 64, 20_000, 1_000, 256, 256
# Of the discriminator: actions in its features, rows of each side.
AIRL_ACTIONS, AIRL_BATCH = 50, 512
# Of the recurrent step and of the sampled one: items, width, items seen, sequences in the log, negatives.
ITEMS, MANY, WIDTH, TURNS, SEQUENCES, NEGATIVES = 10_000, 100_000, 64, 10, 4_096, 1_000

SHAPES = {
    "bc": ("discrete_bc_step", {"hidden": HIDDEN}),
    "cql": ("discrete_cql_step", {"hidden": HIDDEN}),
    "airl-32": ("airl_disc_step", {"hidden": 32}),
    "airl-256": ("airl_disc_step", {"hidden": 256}),
    "gru": ("gru_fullsoftmax_step", {"hidden": WIDTH}),
    "sampled": ("sampled_softmax_step", {"hidden": WIDTH}),
}


def arguments(**more):
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", default=",".join(SHAPES), help="steps, or - to be told them line by line")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for name, choices in more.items():
        parser.add_argument(f"--{name}", choices=choices, default=choices[0])
    return parser.parse_args()


def asked(given):
    """The steps to be measured, one after the other. Who tells them waits for a first line: until then this only imports."""
    if given.what != "-":
        return given.what.split(",")
    print("ready", flush=True)
    return map(str.strip, sys.stdin)


def measure(what, program, version, given, step):
    """Times each step by itself, after five for nothing, up to 400 in the seconds of BENCH_BUDGET_S; prints one JSON line."""
    budget = float(os.environ.get("BENCH_BUDGET_S", "20"))
    for _ in range(5):
        step()
    wall, begin, processor = [], time.perf_counter(), time.process_time()
    while len(wall) < 400 and (len(wall) < 5 or time.perf_counter() - begin < budget):
        before = time.perf_counter()
        step()
        wall.append(time.perf_counter() - before)
    processor = (time.process_time() - processor) / len(wall)
    wall.sort()
    bench, shape = SHAPES[what]
    milliseconds = {"ms_min": 1e3 * wall[0], "ms_median": 1e3 * wall[len(wall) // 2], "cpu_ms_mean": 1e3 * processor}
    line = {"bench": bench, "impl": program, "version": version, "threads": given.threads, "device": given.device, **shape}
    line |= {name: round(value, 4) for name, value in milliseconds.items()}
    print(json.dumps(line | {"n_steps": len(wall), "load": os.getloadavg()[0]}), flush=True)


def measure_asked(given, program, version, discrete, discriminator, recurrent, sampled):
    """Measures the steps that are asked for; each is made when its turn comes, by what makes it."""
    steps = {
        "bc": lambda: discrete(False),
        "cql": lambda: discrete(True),
        "airl-32": lambda: discriminator(32),
        "airl-256": lambda: discriminator(256),
        "gru": recurrent,
        "sampled": sampled,
    }
    for what in asked(given):
        measure(what, program, version, given, steps[what]())
