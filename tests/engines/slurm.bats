#!/usr/bin/env bats
# scripts/engines/slurm.sh: a controller and a daemon of Slurm on this machine.

setup_file() {
    load helper
    local program
    for program in slurmctld slurmd sbatch munged; do
        PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || {
            export MISSING="$program is not installed"
            return
        }
    done
    [ "$(id -u)" -eq 0 ] || {
        export MISSING='slurmd has to be started by root'
        return
    }
    begin
    cluster
}

teardown_file() {
    load helper
    cd "$BATS_FILE_TMPDIR" || return
    end_of slurm/slurmctld.pid slurm/slurmd.pid slurm/munged.pid
}

# cluster: Everything in a folder of its own, and on ports of its own.
cluster() {
    local host
    host=$(hostname -s)
    mkdir -p slurm/state slurm/spool
    chmod 755 .
    (umask 077 && head -c 1024 /dev/urandom >slurm/key)
    cat >slurm/slurm.conf <<END
ClusterName=mr
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$PWD/slurm/munge.socket
CredType=cred/munge
StateSaveLocation=$PWD/slurm/state
SlurmdSpoolDir=$PWD/slurm/spool
SlurmctldPidFile=$PWD/slurm/slurmctld.pid
SlurmdPidFile=$PWD/slurm/slurmd.pid
SlurmctldLogFile=$PWD/slurm/slurmctld.log
SlurmdLogFile=$PWD/slurm/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=1 RealMemory=100
PartitionName=all Nodes=$host Default=YES MaxTime=10 State=UP
END
    export SLURM_CONF=$PWD/slurm/slurm.conf
    munged --force --key-file="$PWD/slurm/key" \
        --socket="$PWD/slurm/munge.socket" \
        --pid-file="$PWD/slurm/munged.pid" \
        --log-file="$PWD/slurm/munged.log" \
        --seed-file="$PWD/slurm/munged.seed" &&
        slurmctld && slurmd && until_true idle || {
        export MISSING='Slurm cannot be started here'
        tail -n 20 slurm/*.log >&3
    }
}

idle() {
    [ "$(sinfo -h -o %T)" = idle ]
}

setup() {
    load helper
    [ -z "${MISSING-}" ] || skip "$MISSING"
    cd "$BATS_FILE_TMPDIR" || return
}

engine() {
    "$MR_SOURCE/scripts/engines/slurm.sh" "$@"
}

@test "Slurm: an array of four and a job that depends on it" {
    run --separate-stderr engine -n 4 -o four lake
    [ "$status" -eq 3 ]
    [ "${lines[0]}" = "$(head -1 one.txt)" ]
    [ "$(parts_of four)" -eq 4 ]
    as_one_machine four
}

@test "Slurm: a part that fails does not keep the others from being reduced" {
    mkdir failing
    cat >failing/mr <<'END'
#!/bin/sh
[ "$1 ${SLURM_ARRAY_TASK_ID-}" != 'map 2' ] || exit 5
exec mr-proper "$@"
END
    chmod +x failing/mr
    ln -s "$MR" failing/mr-proper
    PATH=$PWD/failing:$PATH run --separate-stderr engine -n 3 -o less lake
    [ "$status" -eq 3 ]
    [[ $output == *'of the manifest are in no state'* ]]
    [ "$(parts_of less)" -eq 2 ]
    [ -s less/kpis/daily.csv ]
    # Run again, the missing part is made.
    run --separate-stderr engine -n 3 -o less lake
    [ "$status" -eq 3 ]
    as_one_machine less
}
