#!/bin/bash
# Runs the toy program on a real Slurm of this machine: munged, slurmctld and one or two slurmd, started here as root and ended with the
# script. Debian: `apt-get install slurm-wlm munge`. Usage: `tests/slurm/run.sh path/to/toy [FOLDER]`. What it checks is printed as it goes.
set -eu
toy=$(realpath "$1")
dir=${2:-$(mktemp -d)}
mkdir -p "$dir"
cd "$dir"
daemons=()
finish() {
    for process in "${daemons[@]}"; do kill "$process" 2>/dev/null || true; done
}
trap finish EXIT

host=$(hostname -s)
nodes="node1,node2"
if slurmd -h 2>&1 | grep -q -- '-N'; then
    # Two nodes of one machine; Debian's build has --enable-multiple-slurmd.
    lines="NodeName=node1 NodeHostname=$host Port=17001 CPUs=1 RealMemory=500
NodeName=node2 NodeHostname=$host Port=17002 CPUs=1 RealMemory=500"
else
    nodes=$host
    lines="NodeName=$host CPUs=$(nproc) RealMemory=1000"
fi
mkdir -p state spool run
cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$host
AuthType=auth/munge
# Credentials that last shortly: a task that was put back waits as long.
AuthInfo=socket=$dir/run/munge.socket,cred_expire=10
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmdSpoolDir=$dir/spool/%n
StateSaveLocation=$dir/state
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=200000
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
KillWait=15
MinJobAge=10
$lines
PartitionName=all Nodes=$nodes Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$dir/slurm.conf

head -c 1024 /dev/urandom >munge.key
chmod 400 munge.key
munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/run/munge.socket" --pid-file="$dir/run/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/run/munged.seed" 2>munged.out &
daemons+=($!)
sleep 1
controller() {
    slurmctld -D >>slurmctld.out 2>&1 &
    controller=$!
    daemons+=($controller)
}
controller
for node in ${nodes//,/ }; do
    mkdir -p "spool/$node"
    slurmd -D -N "$node" >>"slurmd.$node.out" 2>&1 &
    daemons+=($!)
done
until sinfo --noheader --format=%T 2>/dev/null | grep -q idle; do sleep 0.5; done
sinfo

cat >x.yaml <<YAML
name: cluster
stages:
  slow: { use: toy.slow, with: { units: 40, hold_at: 20, gate: $dir/gate } }
  cells: { use: toy.number, sweep: { value: [1, 2, 3, 4, 5, 6, 7, 8] } }
  page: { use: toy.page, inputs: { values: [slow.value, cells.value] } }
YAML
echo "{ poll: 1, visibility: 5, grace: 10, cells_per_task: 2, time: '0:05:00' }" >site.yaml
touch gate
objects() { (cd "$1/store/objects" && find . -type f | sort | xargs b2sum); }
"$toy" run x.yaml --quiet --artifacts local
run() { "$toy" run x.yaml --executor slurm --profile site.yaml --artifacts "$@"; }
# The same in the background, as the process whose number `$!` is.
begin() { exec "$toy" run x.yaml --executor slurm --profile site.yaml --quiet --artifacts "$@"; }
same() {
    diff <(objects local) <(objects "$1")
    echo "== $2: the objects are those of a local run"
}
tasks() { squeue --me --noheader --array --format=%i | wc -l; }
# Waits until the worker of the held stage has said something since the file was marked.
held() { until grep -qs '"holds at"' "$1"/store/runs/*/jobs/*slow.events; do sleep 0.2; done; }

start=$SECONDS
run plain
same plain "plain, $((SECONDS - start)) s"
grep -ho '"worker": "[^"]*"\|"node": "[^"]*"' plain/store/runs/*/run.json | sort | uniq -c

rm gate
begin detached --on-interrupt detach &
driver=$!
held detached
kill -INT $driver
wait $driver && exit 1 || [ $? = 130 ]
[ "$(tasks)" -ge 1 ]
touch gate
run detached
same detached "detached by Ctrl-C and taken up"

rm gate
begin killed &
driver=$!
held killed
kill -KILL $driver
wait $driver || true
touch gate
run killed
same killed "kill -9 of the run, and taken up"

rm gate
begin cancelled &
driver=$!
held cancelled
kill -INT $driver
wait $driver && exit 1 || [ $? = 130 ]
until [ "$(tasks)" = 0 ]; do sleep 0.5; done
touch gate
run cancelled
same cancelled "cancelled by Ctrl-C, and run again"

rm gate
begin controller &
driver=$!
held controller
kill -KILL $controller
sleep 8
touch gate
controller
wait $driver
same controller "the controller killed for 8 s and restarted"

rm gate
begin worker &
driver=$!
held worker
worker=$(grep -ho '"pid":[0-9]*' worker/store/runs/*/jobs/*slow.events | tail -1 | cut -d: -f2)
kill -KILL "$worker"
touch gate
wait $driver
same worker "kill -9 of a worker"

rm gate
begin requeued &
driver=$!
held requeued
task=$(squeue --me --noheader --array --states=RUNNING --format=%i | head -1)
# What Slurm does `grace` seconds before the end of the time.
# The task may be back in the queue before `scancel` has its answer.
scancel --signal=INT --batch "$task" || true
sleep 4
touch gate
wait $driver
same requeued "the signal before the end of the time, and back into the queue"
grep -ho '"event":"interrupted"' requeued/store/runs/*/jobs/*slow.events | wc -l

rm gate
begin drained &
driver=$!
held drained
node=$(squeue --me --noheader --array --states=RUNNING --format=%N | head -1)
task=$(squeue --me --noheader --array --states=RUNNING --format=%i | head -1)
scontrol update NodeName="$node" State=DRAIN Reason=test
scontrol requeue "$task"
sleep 4
touch gate
scontrol update NodeName="$node" State=RESUME || true
wait $driver
same drained "a node drained and its task requeued by somebody"
"$toy" verify --artifacts drained
echo "== all done in $SECONDS s; logs are in $dir"
