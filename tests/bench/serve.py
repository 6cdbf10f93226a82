#!/usr/bin/env python3
"""Requests per second of `apprentice serve` beside FastAPI and NumPy, at equal delays; see README.md.

Needs `wrk` and `taskset`; of Python the standard library alone. The peer needs `pip install numpy safetensors fastapi uvicorn[standard]`.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SERVER, CLIENT = "0", "1"  # the cores of both
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def ask(port, question):
    body, headers = json.dumps(question).encode(), {"Content-Type": "application/json"}
    return json.load(urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/recommend", body, headers)))


def start(command, port, question):
    process = subprocess.Popen(["taskset", "-c", SERVER, *command], stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            return process, [item["id"] for item in ask(port, question)["items"]]
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{command} does not answer")


def load(port, script, connections, seconds):
    """Requests per second, and the 99th percentile of the delay in milliseconds."""
    command = ["taskset", "-c", CLIENT, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", script]
    said = subprocess.run([*command, f"http://127.0.0.1:{port}/recommend"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), float(number) * UNITS[unit]


def processor(pid):
    """Seconds of the processor that a server took so far; other work on the machine changes them less than delays."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy")
    parser.add_argument("--program", default="target/release/apprentice")
    parser.add_argument("--python", help="one that has the peer's packages; without it apprentice alone is measured")
    parser.add_argument("--serve", default="", help="further options of `apprentice serve`")
    parser.add_argument("--connections", default="1,4,16,64")
    parser.add_argument("--history", type=int, default=3, help="items of each question's history")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    commands = {"apprentice": [options.program, "serve", options.policy, "--port", "8101", "--threads", "1", *options.serve.split()]}
    if options.python:
        commands["fastapi"] = [options.python, str(HERE / "serve_fastapi.py"), options.policy, "--port", "8102"]
    ports = {"apprentice": 8101, "fastapi": 8102}
    # Ids of items are asked for, so that any policy will do.
    process, ids = start(commands["apprentice"], 8101, {"top_k": options.history})
    process.terminate()
    process.wait()
    question = {"user": "1", "history": ids[: options.history], "top_k": 10}
    counts = [int(count) for count in options.connections.split(",")]
    found, answers = {}, set()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [[{json.dumps(question)}]]\nwrk.headers["Content-Type"] = "application/json"\n')
        script.flush()
        for _ in range(options.rounds):
            for name, command in commands.items():
                process, items = start(command, ports[name], question)
                answers.add(tuple(items))
                load(ports[name], script.name, 4, 1)  # warm
                for count in counts:
                    begun = processor(process.pid)
                    rate, delay = load(ports[name], script.name, count, options.seconds)
                    took = 1e6 * (processor(process.pid) - begun) / (rate * options.seconds)
                    found.setdefault((name, count), []).append((rate, delay, took))
                found.setdefault((name, "MB"), []).append((memory(process.pid),))
                process.terminate()
                process.wait()
    assert len(answers) == 1, f"they answer differently: {answers}"
    best = {}
    for (name, count), rounds in found.items():
        medians = [statistics.median(values) for values in zip(*rounds)]
        if count == "MB":
            print(f"{name:10} peak memory {medians[0]:.0f} MB")
            continue
        rate, delay, took = medians
        print(f"{name:10} {count:4} connections {rate:9,.0f} requests/s   p99 {delay:8.2f} ms   {took:6.0f} µs of the processor each")
        best.setdefault(name, []).append((rate, delay))
    if options.python:
        for rate, delay in best["fastapi"]:
            ours = max((rate for rate, other in best["apprentice"] if other <= delay), default=None)
            if ours:
                print(f"p99 at most {delay:.2f} ms: {ours:,.0f} and {rate:,.0f} requests/s, {ours / rate:.1f} times")


if __name__ == "__main__":
    main()
