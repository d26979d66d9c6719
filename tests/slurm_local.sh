#!/usr/bin/env bash
# A real, throw-away SLURM cluster on one machine: for tests/test_slurm.py, and to try by hand.
#
#   sudo tests/slurm_local.sh install   Debian or Ubuntu packages: slurmctld slurmd slurm-client munge
#   sudo tests/slurm_local.sh start     starts what is not running, waits until the nodes are idle
#   sudo tests/slurm_local.sh stop      stops only the daemons that this script started
#   sudo tests/slurm_local.sh restart|status|purge
#
# No systemd, no cgroups, no database: one slurmctld, one slurmd per virtual node. Partition "cpu"
# (the default) has the nodes cpu1, cpu2, …; partition "gpu" has gpu1, whose GPUs have no device
# behind them: they are asked for, queued for and listed in CUDA_VISIBLE_DEVICES as on a real
# cluster, but compute nothing.
#
# Knobs (environment):
#   SLURM_LOCAL_CPU_NODES=2    nodes of partition "cpu"
#   SLURM_LOCAL_CPUS=2         CPUs that each of them claims (virtual: may exceed the real ones)
#   SLURM_LOCAL_GPU_CPUS=8     CPUs that the GPU node claims
#   SLURM_LOCAL_MEM_MB=64000   memory that each node claims
#   SLURM_LOCAL_GPUS=2         GPUs of the GPU node
#   SLURM_LOCAL_STATE=/var/lib/slurm-local   state, logs, process ids
#
# The configuration is always /etc/slurm: jobs that Snakemake starts drop SLURM_CONF. One that is
# already there and was not written by this script is left alone, and nothing is started.
set -euo pipefail

CPU_NODES=${SLURM_LOCAL_CPU_NODES:-2}
CPUS=${SLURM_LOCAL_CPUS:-2}
GPU_CPUS=${SLURM_LOCAL_GPU_CPUS:-8}
MEM_MB=${SLURM_LOCAL_MEM_MB:-64000}
GPUS=${SLURM_LOCAL_GPUS:-2}
CONF=/etc/slurm
STATE=${SLURM_LOCAL_STATE:-/var/lib/slurm-local}
MARK="# written by slurm_local.sh"
HOST=$(hostname -s)

say()  { printf 'slurm_local: %s\n' "$*" >&2; }
die()  { say "$*"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "needs root"; }

# A daemon is ours and alive when its pid file names a live process of that name.
alive() { # pidfile name
    local pid
    [ -r "$1" ] || return 1
    pid=$(tr -dc 0-9 <"$1"); [ -n "$pid" ] || return 1
    [ -r "/proc/$pid/comm" ] || return 1
    case "$(cat "/proc/$pid/comm")" in "$2"*) return 0 ;; *) return 1 ;; esac
}

pid_of() { alive "$1" "$2" && tr -dc 0-9 2>/dev/null <"$1" || true; } # pidfile name

# Asks all given daemons to end, waits up to 8 s, then ends them hard.
end_all() { # pid...
    local i pid left
    [ $# -gt 0 ] || return 0
    kill "$@" 2>/dev/null || true
    for i in $(seq 80); do
        left=
        for pid in "$@"; do # a zombie has ended too
            case "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null || echo gone)" in gone|Z|'') ;; *) left="$left $pid" ;; esac
        done
        [ -n "$left" ] || return 0
        sleep 0.1
    done
    # shellcheck disable=SC2086
    kill -9 $left 2>/dev/null || true
}

install() {
    need_root
    if command -v slurmctld >/dev/null && command -v slurmd >/dev/null \
       && command -v sbatch >/dev/null && command -v munged >/dev/null; then
        say "packages are there"; return
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge >/dev/null
    say "packages installed"
}

nodes() { local i; for i in $(seq "$CPU_NODES"); do echo "cpu$i"; done; echo gpu1; }

write_conf() {
    if [ -e "$CONF/slurm.conf" ] && ! grep -q "^$MARK" "$CONF/slurm.conf"; then
        die "$CONF/slurm.conf was not written by this script: this machine has a SLURM of its own"
    fi
    mkdir -p "$CONF" "$STATE/ctld" "$STATE/log" "$STATE/run" "$STATE/dev"
    local i
    {
        echo "$MARK"
        cat <<CONF
ClusterName=local
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# no cgroups, no systemd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
# memory: watched by polling, over-users are killed (there is no cgroup to do it)
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
# no database: sacct answers nothing, squeue remembers ended jobs for MinJobAge seconds
AccountingStorageType=accounting_storage/none
MinJobAge=3600
JobCompType=jobcomp/filetxt
JobCompLoc=$STATE/log/jobcomp.txt
# scheduling
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0,default_queue_depth=1000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PriorityType=priority/basic
KillWait=5
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
# places
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/spool.%n
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/slurmd.%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/slurmd.%n.log
# virtual nodes may claim more than the machine has
SlurmdParameters=config_overrides
GresTypes=gpu
CONF
        for i in $(seq "$CPU_NODES"); do
            echo "NodeName=cpu$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((26820 + i)) CPUs=$CPUS RealMemory=$MEM_MB State=UNKNOWN"
        done
        echo "NodeName=gpu1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=26819 CPUs=$GPU_CPUS RealMemory=$MEM_MB Gres=gpu:fake:$GPUS State=UNKNOWN"
        echo "PartitionName=cpu Nodes=$(for i in $(seq "$CPU_NODES"); do printf '%scpu%s' "$([ "$i" = 1 ] || echo ,)" "$i"; done) Default=YES MaxTime=1-00:00:00 DefaultTime=00:30:00 DefMemPerCPU=500 State=UP"
        echo "PartitionName=gpu Nodes=gpu1 MaxTime=1-00:00:00 DefaultTime=00:30:00 DefMemPerCPU=500 State=UP"
    } >"$CONF/slurm.conf"
    # Copies of /dev/null stand for the devices: only with File= does SLURM set
    # CUDA_VISIBLE_DEVICES per job, and only device nodes are taken as File=.
    {
        echo "$MARK"; echo "AutoDetect=off"
        for i in $(seq 0 $((GPUS - 1))); do
            [ -c "$STATE/dev/gpu$i" ] || { rm -f "$STATE/dev/gpu$i"; mknod "$STATE/dev/gpu$i" c 1 3 2>/dev/null || true; }
        done
        if [ "$GPUS" -gt 0 ] && [ -c "$STATE/dev/gpu0" ]; then
            for i in $(seq 0 $((GPUS - 1))); do echo "NodeName=gpu1 Name=gpu Type=fake File=$STATE/dev/gpu$i"; done
        else
            say "mknod is not allowed here: GPUs are counted, CUDA_VISIBLE_DEVICES is not set"
            echo "NodeName=gpu1 Name=gpu Type=fake Count=$GPUS"
        fi
    } >"$CONF/gres.conf"
    # nothing of cgroups is used, but some versions insist that the file can be read
    [ -e "$CONF/cgroup.conf" ] || { echo "$MARK"; echo "CgroupAutomount=no"; } >"$CONF/cgroup.conf"
}

start_munge() {
    munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
    [ -s /etc/munge/munge.key ] || mungekey --create
    install_dir() { mkdir -p "$1"; chown munge:munge "$1"; chmod "$2" "$1"; }
    install_dir /run/munge 755; install_dir /var/log/munge 700; install_dir /var/lib/munge 700
    chown munge:munge /etc/munge /etc/munge/munge.key; chmod 700 /etc/munge; chmod 400 /etc/munge/munge.key
    rm -f /run/munge/munge.socket.2
    runuser -u munge -- munged
    : >"$STATE/run/munge.ours"
    local i; for i in $(seq 50); do munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return; sleep 0.1; done
    die "munged does not answer"
}

start() {
    need_root; install
    if [ ! -e "$CONF/slurm.conf" ] || ! alive "$STATE/run/slurmctld.pid" slurmctld; then write_conf; fi
    start_munge
    alive "$STATE/run/slurmctld.pid" slurmctld || slurmctld
    local n i
    for n in $(nodes); do
        mkdir -p "$STATE/spool.$n"
        alive "$STATE/run/slurmd.$n.pid" slurmd || slurmd -N "$n"
    done
    for i in $(seq 150); do
        [ "$(sinfo -h -N -o '%t' 2>/dev/null | grep -cE '^(idle|mix|alloc)$')" -ge $((CPU_NODES + 1)) ] && { status; return; }
        # a node that was drained, or down since the last run, is taken back into service
        [ $((i % 20)) = 19 ] && scontrol update nodename="$(nodes | paste -sd,)" state=resume 2>/dev/null || true
        sleep 0.2
    done
    sinfo -N -l >&2 || true
    tail -n 5 "$STATE"/log/*.log >&2 || true
    die "nodes did not come up"
}

status() { sinfo -N -o '%N %P %t %c CPUs %m MB %G' || { say "not running"; return 3; }; }

stop() {
    need_root
    if alive "$STATE/run/slurmctld.pid" slurmctld; then
        scancel --full --state=RUNNING 2>/dev/null || true
        scancel --state=PENDING 2>/dev/null || true
    fi
    local f pids=
    for f in "$STATE"/run/slurmd.*.pid; do [ -e "$f" ] && pids="$pids $(pid_of "$f" slurmd)"; done
    pids="$pids $(pid_of "$STATE/run/slurmctld.pid" slurmctld)"
    if [ -e "$STATE/run/munge.ours" ]; then pids="$pids $(pid_of /run/munge/munged.pid munged)"; fi
    # shellcheck disable=SC2086
    end_all $pids
    rm -f "$STATE"/run/*.pid "$STATE/run/munge.ours"
    say "stopped"
}

purge() { # also forgets job history, state and configuration
    stop
    for f in slurm.conf gres.conf cgroup.conf; do
        if [ -e "$CONF/$f" ] && grep -q "^$MARK" "$CONF/$f"; then rm -f "$CONF/$f"; fi
    done
    rm -rf "${STATE:?}"
}

case "${1:-}" in
    install|start|stop|status|purge) "$1" ;;
    restart) stop; start ;;
    *) sed -n '2,24p' "$0"; exit 2 ;;
esac
