#!/usr/bin/env bats
# scripts/systemd: the units as systemd sees them, and a daily run in a systemd
# that is booted in namespaces of its own.

setup_file() {
    load helper
    [ -n "$(command -v systemd-analyze)" ] || {
        export MISSING='systemd is not installed'
        return
    }
    cd "$BATS_FILE_TMPDIR" || return
    mkdir verified
    for unit in "$MR_SOURCE"/scripts/systemd/*.{service,timer}; do
        sed -e "s,/usr/local/bin/,$MR_SOURCE/scripts/systemd/," \
            -e "s,/etc/default/mr-daily,$MR_SOURCE/scripts/systemd/mr-daily.conf," \
            "$unit" >"verified/${unit##*/}"
    done
}

setup() {
    load helper
    [ -z "${MISSING-}" ] || skip "$MISSING"
    cd "$BATS_FILE_TMPDIR" || return
}

@test "systemd: the units are right" {
    cd verified
    run systemd-analyze verify --man=no ./mr-daily.service ./mr-daily.timer \
        mr-failed@mr-daily.service
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "systemd: the service may do little" {
    cd verified
    # Ten times the exposure level, which goes up to 10.
    systemd-analyze security --offline=true --threshold=15 ./mr-daily.service
}

@test "systemd: the timer's time is four in the morning, in UTC" {
    local when
    when=$(sed -n 's/^OnCalendar=//p' verified/mr-daily.timer)
    run -0 systemd-analyze calendar "$when" --base-time '2024-02-28 05:00 UTC'
    [[ $output == *'2024-02-29 04:00:00 UTC'* ]]
}

# a_lake: Three days; ann stays for two, bob for one, and cy comes.
a_lake() {
    mkdir -p lake/type=a/date=2024-02-2{7,8,9}
    event '2024-02-27 10:00' ann | gzip >lake/type=a/date=2024-02-27/1.gz
    event '2024-02-28 10:00' ann | gzip >lake/type=a/date=2024-02-28/1.gz
    event '2024-02-28 10:00' bob | gzip >lake/type=a/date=2024-02-28/2.gz
    event '2024-02-29 10:00' cy | gzip >lake/type=a/date=2024-02-29/1.gz
}

@test "systemd: a run, another one, one with a damaged file, in a booted one" {
    [ "$(id -u)" -eq 0 ] && unshare -p -f -m -n -u -i -C true 2>/dev/null &&
        [ -x /lib/systemd/systemd ] ||
        skip 'namespaces cannot be made here, or there is no systemd'
    mkdir -p units bin found
    a_lake
    cp "$MR_SOURCE"/scripts/systemd/*.{service,timer} units/
    # The last day is one of the past.
    sed -i 's/^ExecStart=.*mr-daily /&-d 2024-02-29 /' units/mr-daily.service
    cp "$MR_SOURCE/scripts/systemd/mr-daily" "$MR" bin/
    sed 's,^MR_NOTIFY=.*,MR_NOTIFY=cat >>"/var/lib/mr/news",' \
        "$MR_SOURCE/scripts/systemd/mr-daily.conf" >default
    cat >script <<'END'
cd "$1/found" || exit
kept=/var/lib/mr
systemctl start mr-daily.service
echo $? >first.status
cp -r $kept first
systemctl start mr-daily.service
echo $? >again.status
cp -r $kept again
head -c 30 "$1/lake/type=a/date=2024-02-29/1.gz" >"$1/lake/type=a/date=2024-02-29/2.gz"
systemctl start mr-daily.service
echo $? >damaged.status
for _ in $(seq 100); do
    [ ! -s $kept/news ] || break
    sleep 0.1
done
sleep 0.3
cp -r $kept damaged
systemctl start mr-daily.timer
systemctl list-timers --all --no-pager >timers
END
    "$MR_SOURCE/tests/engines/boot.sh" "$PWD" "$PWD/script" || true
    [ -e found/first.status ] || {
        cat said
        skip 'systemd does not boot in namespaces here'
    }
    [ "$(cat found/{first,again,damaged}.status | xargs)" = '0 0 1' ]
    mr map -q -o by-hand.mrs lake/type=a/date=2024-02-2* || [ $? -eq 3 ]
    mr reduce -q --day 2024-02-27..2024-02-29 -o by-hand by-hand.mrs ||
        [ $? -eq 3 ]
    cmp by-hand/daily.csv found/damaged/2024-02-29/daily.csv
    [ "$(cut -d, -f1-4,6-10 found/first/2024-02-29/daily.csv)" = \
        "$(printf '%s\n' \
            day,events,events_without_user,users,active,inactive,churned,reactivated,sessions \
            2024-02-27,1,0,1,,,,,1 \
            2024-02-28,2,0,2,1,0,0,1,2 \
            2024-02-29,1,0,1,0,0,2,1,1)" ]
    diff -r found/first found/again
    # The news of the damaged file, and none before.
    [ ! -e found/again/news ]
    grep -q "^mr-daily.service failed on $(hostname)$" found/damaged/news
    grep -q 'Failed with result .exit-code' found/damaged/news
    grep -q 'status=3' found/damaged/news
    grep -q 'PARTIAL: 1 partition could not be read' found/damaged/news
    grep -q 'mr-daily.timer' found/timers
}
