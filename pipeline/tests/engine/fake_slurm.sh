#!/bin/bash
# Stands in for sbatch, squeue, scancel and scontrol: tasks are processes of this machine. Files in $FAKE_SLURM say what goes wrong:
# `delay` (seconds before a task starts), `lose` (tasks to take and never start), `silent` (the controller does not answer).
set -u
fake=$FAKE_SLURM
mkdir -p "$fake/queue" "$fake/task" "$fake/pid"

start() { # job_task
    local id=$1 script log
    read -r script log <"$fake/task/$id"
    echo "PENDING|Resources|" >"$fake/queue/$id"
    (
        [ -e "$fake/delay" ] && sleep "$(cat "$fake/delay")"
        [ -e "$fake/queue/$id" ] || exit 0
        export SLURM_ARRAY_JOB_ID=${id%_*} SLURM_ARRAY_TASK_ID=${id#*_}
        setsid bash "$script" >>"$log" 2>&1 </dev/null &
        echo $! >"$fake/pid/$id"
        echo "RUNNING|None|node$((SLURM_ARRAY_TASK_ID % 2 + 1))" >"$fake/queue/$id"
        wait $!
        [ "$(cat "$fake/pid/$id")" = $! ] && rm -f "$fake/queue/$id"
    ) >/dev/null 2>&1 </dev/null &
}

case $(basename "$0") in
sbatch)
    if [ -e "$fake/silent" ] && [ "$(cat "$fake/silent")" = all ]; then
        echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2
        exit 1
    fi
    script=${*: -1}
    tasks=$(sed -n 's/^#SBATCH --array=1-\([0-9]*\).*/\1/p' "$script")
    output=$(sed -n 's/^#SBATCH --output=//p' "$script")
    until mkdir "$fake/job-$((next = $(find "$fake" -maxdepth 1 -name 'job-*' | wc -l) + 1))" 2>/dev/null; do :; done
    for task in $(seq "$tasks"); do
        id=${next}_$task
        echo "$script ${output/\%a/$task}" >"$fake/task/$id"
        if [ -e "$fake/lose" ] && [ "$(cat "$fake/lose")" -gt 0 ]; then
            echo $(($(cat "$fake/lose") - 1)) >"$fake/lose"
        else
            start "$id"
        fi
    done
    echo "$next"
    ;;
squeue)
    if [ -e "$fake/silent" ]; then
        echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2
        exit 1
    fi
    for file in "$fake"/queue/*; do
        [ -e "$file" ] && echo "$(basename "$file")|$(cat "$file")"
    done
    exit 0
    ;;
scancel)
    for id in "$@"; do
        rm -f "$fake/queue/$id"
        [ -e "$fake/pid/$id" ] && kill -TERM "$(cat "$fake/pid/$id")"
    done
    exit 0
    ;;
scontrol)
    id=$2
    process=$(cat "$fake/pid/$id")
    echo >"$fake/pid/$id"
    (
        sleep 0.2
        kill -KILL "$process"
        start "$id"
    ) >/dev/null 2>&1 </dev/null &
    ;;
esac
