#!/usr/bin/env python3
"""How fast a GGUF model reads and writes inside `apprentice`, beside llama.cpp on the same file; see README.md."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LLAMA = "xllamacpp==2026.10.11549"
READ, PREFIX, WRITTEN = 512, 300, 32
# Runs with the peer's Python: llama.cpp's own server in that process, timed by llama.cpp itself.
PEER = f"""
import json, statistics, sys, urllib.request, xllamacpp
path, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kept = lambda name: float(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1]) / 1e3
baseline = kept("VmRSS:")
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = path, 1024, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(params)
def post(body):
    data = json.dumps({{"cache_prompt": False, "temperature": 0, **body}}).encode()
    request = urllib.request.Request(server.listening_address + "/completion", data, {{"Content-Type": "application/json"}})
    return json.load(urllib.request.urlopen(request))["timings"]
ids = lambda number, count: [1000 + (7 * i * i + number) % 5000 for i in range(count)]
read = [post({{"prompt": ids(n, {READ}), "n_predict": 1}})["prompt_per_second"] for n in range(rounds + 1)][1:]
memory, peak = kept("VmRSS:") - baseline, kept("VmHWM:")
wrote = [post({{"prompt": ids(n, {PREFIX}), "n_predict": {WRITTEN}, "ignore_eos": True}})["predicted_per_second"] for n in range(rounds)]
for what, measured in [("memory", {{"with_prompt_mb": memory, "peak_mb": peak, "peak_of_all_mb": kept("VmHWM:")}}),
                       ("read, 1 at once", {{"tokens_per_s": statistics.median(read)}}),
                       ("write, 1 at once", {{"tokens_per_s": statistics.median(wrote)}})]:
    print(json.dumps({{"program": "llama.cpp", "threads": threads, "what": what, "measured": measured}}))
"""


def lines(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"program"')]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("--rounds", type=int, default=3, help="how often the programs alternate")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each program in a round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", type=pathlib.Path, help="a folder to install llama.cpp into; without it ours alone")
    parser.add_argument("--bench", type=pathlib.Path, help="our built bench; without it cargo builds it")
    options = parser.parse_args()
    ours = [str(options.bench.resolve())] if options.bench else ["cargo", "bench", "-q", "--locked", "--bench", "decoder", "--"]
    python = None
    if options.peers:
        python = options.peers.resolve() / "llama/bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", LLAMA], check=True)
    model, found = str(options.model.resolve()), {}
    print(f"{options.model.name}, {os.cpu_count()} cores; each figure the median of {options.rounds} rounds of medians of {options.repeats}")
    for _ in range(options.rounds):
        for threads in options.threads:
            given = [model, str(threads), str(options.repeats)]
            measured = lines([*ours, *given])
            if python:
                measured += lines([python, "-c", PEER, *given])
            for line in measured:
                for name, value in line["measured"].items():
                    found.setdefault((threads, line["what"], name, line["program"]), []).append(value)
    for (threads, what, name, program), values in sorted(found.items()):
        print(f"{threads} threads  {what:<36} {name:<16} {program:<11} {statistics.median(values):10.3f}   {values}")
        own = found.get((threads, what, name, "apprentice"))
        if program != "apprentice" and own:
            ratios = [mine / theirs for mine, theirs in zip(own, values)]
            print(f"{'':<66}apprentice / {program} {statistics.median(ratios):.3f}   {[round(ratio, 3) for ratio in ratios]}")


if __name__ == "__main__":
    main()
