#!/usr/bin/env python3
"""How long a run takes that finds everything up to date, beside DVC and Snakemake; see README.md.

Needs Python's standard library alone; DVC and Snakemake are installed with pip into a folder of their own.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = {"dvc": "dvc==3.67.1", "snakemake": "snakemake==9.27.1"}
CHAIN = 10


def stages(count):
    """`(name, name of the stage before it or None, value)`, in chains of ten."""
    for number in range(count):
        before = None if number % CHAIN == 0 else f"s{number - 1:05}"
        yield f"s{number:05}", before, number // CHAIN * 100 + number % CHAIN


def ours(folder, count, program):
    lines = ["name: chains", "stages:"]
    for name, before, value in stages(count):
        if before is None:
            lines.append(f"  {name}: {{ use: toy.number, with: {{ value: {value} }} }}")
        else:
            lines.append(f"  {name}: {{ use: toy.add, inputs: {{ a: {before}.value }}, with: {{ plus: 1 }} }}")
    (folder / "x.yaml").write_text("\n".join(lines) + "\n")
    subprocess.run([program, "run", "x.yaml", "-q"], cwd=folder, check=True, capture_output=True)
    return {
        "apprentice run": [program, "run", "x.yaml", "-q"],
        "apprentice plan": [program, "plan", "x.yaml"],
    }


def files(folder, count):
    """The outputs as the stages would make them: what is measured is finding that nothing is to do."""
    (folder / "out").mkdir()
    for name, _, value in stages(count):
        (folder / "out" / f"{name}.txt").write_text(f"{value}\n")


def dvc(folder, count, program):
    files(folder, count)
    lines = ["stages:"]
    for name, before, value in stages(count):
        lines += [f"  {name}:", f"    cmd: echo {value} > out/{name}.txt"]
        if before is not None:
            lines += ["    deps:", f"      - out/{before}.txt"]
        lines += ["    outs:", f"      - out/{name}.txt:", "          cache: false"]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    subprocess.run([program, "init", "--no-scm", "-q"], cwd=folder, check=True)
    subprocess.run([program, "config", "core.analytics", "false"], cwd=folder, check=True)
    subprocess.run([program, "commit", "-f", "-q"], cwd=folder, check=True)
    return {"dvc repro": [program, "repro", "-q"]}


def snakemake(folder, count, program):
    files(folder, count)
    last = [name for number, (name, _, _) in enumerate(stages(count)) if number % CHAIN == CHAIN - 1]
    lines = ["rule all:", f"    input: {', '.join(repr(f'out/{name}.txt') for name in last)}"]
    for name, before, value in stages(count):
        lines.append(f"rule {name}:")
        if before is not None:
            lines.append(f"    input: 'out/{before}.txt'")
        lines += [f"    output: 'out/{name}.txt'", f"    shell: 'echo {value} > {{output}}'"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n")
    subprocess.run([program, "--touch", "--cores", "2", "-q", "all"], cwd=folder, check=True, capture_output=True)
    return {"snakemake": [program, "--cores", "2", "-q", "all"]}


def look_alike(folder, count):
    """Fills the store of `ours` up to `count` entries of stages that are not asked for."""
    entries = folder / "artifacts" / "store" / "entries"
    text = next(entries.iterdir()).read_bytes()
    for number in range(count - len(list(entries.iterdir()))):
        (entries / f"{hashlib.sha256(str(number).encode()).hexdigest()}.json").write_bytes(text)


def measure(command, folder):
    """Seconds on the wall, seconds of the processors."""
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} in {folder} ended with {child.returncode}:\n{said.decode()}")
    return wall, used.ru_utime + used.ru_stime


def installed(folder):
    """The programs of the peers, installed where they are not yet."""
    programs = folder / "bin"
    if not all((programs / name).exists() for name in PEERS):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([programs / "pip", "install", "-q", *PEERS.values()], check=True)
    return {name: programs / name for name in PEERS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/toy")
    parser.add_argument("--stages", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--entries", type=int, default=100_000, help="also with so many entries in the store")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each, after one that is not")
    parser.add_argument("--peers", type=pathlib.Path, help="a folder for DVC and Snakemake; without it ours alone")
    options = parser.parse_args()
    program = options.program.resolve()
    if not program.exists():
        sys.exit(f"no `{program}`\nhelp: build it with `cargo build --release --locked -p pipeline --bins`")
    peers = installed(options.peers.resolve()) if options.peers else {}
    print(f"{'stages':>6}  {'command':32}  {'wall s: min':>11}  {'median':>7}  {'max':>7}  {'cpu s':>7}")
    for count in options.stages:
        with tempfile.TemporaryDirectory() as root:
            commands = []
            for make, name in [(ours, "ours"), (dvc, "dvc"), (snakemake, "snakemake")]:
                if name != "ours" and name not in peers:
                    continue
                folder = pathlib.Path(root) / name
                folder.mkdir()
                made = make(folder, count, program if name == "ours" else peers[name])
                commands += [(label, command, folder) for label, command in made.items()]
            if options.entries > count:
                folder = pathlib.Path(root) / "ours-full"
                shutil.copytree(pathlib.Path(root) / "ours", folder, copy_function=shutil.copy2)
                look_alike(folder, options.entries)
                label = f"apprentice plan, {options.entries} entries"
                commands.append((label, [program, "plan", "x.yaml"], folder))
            # In turns, so that a machine that is busy for a while is so for all.
            figures = {label: [] for label, _, _ in commands}
            for turn in range(options.runs + 1):
                for label, command, folder in commands:
                    figure = measure(command, folder)
                    if turn > 0:
                        figures[label].append(figure)
            for label, rows in figures.items():
                wall, cpu = zip(*rows)
                print(
                    f"{count:6}  {label:32}  {min(wall):11.3f}  {statistics.median(wall):7.3f}  {max(wall):7.3f}"
                    f"  {statistics.median(cpu):7.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
