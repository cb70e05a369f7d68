//! Shell text that runs inside sandboxes: the keeper, and what ends processes.
//!
//! Owns: portable shell (dash, busybox ash, bash) that forks nothing, since a sandbox may be out of processes.
//! A process whose first thread has ended is shown as a zombie, and lives as long as it has others.
//! Must not: trust the environment or the names of processes it sees.

/// What process 1 runs: it reaps orphans and never ends. The kernel drops signals from inside that process 1
/// does not handle, so there are no handlers here. A shell that can't fork exits; the trap then starts it anew
/// in place, so a full process table does not end the sandbox.
const KEEPER: &str = r#"trap 'exec /bin/sh -c "$1" harness "$1"' EXIT; while :; do sleep 86400 & wait; done"#;

/// Writes the names of the container before it keeps it: without networking the daemon writes none and hides the
/// image's, and an upload would cost a round trip.
const FIRST: &str = r#"printf '%s' "$2" >/etc/hosts 2>/dev/null; exec /bin/sh -c "$1" harness "$1""#;
/// What stands in `/etc/hosts`.
pub(crate) const HOSTS: &str =
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tsandbox\n";

/// Returns the command of process 1.
pub(crate) fn keeper() -> Vec<String> {
    ["/bin/sh", "-c", FIRST, "harness", KEEPER, HOSTS]
        .map(str::to_owned)
        .to_vec()
}

/// Kills whatever the caller may signal, except process 1 and itself. `kill(-1)` is atomic against forks.
pub(crate) const KILL_ALL: &str = "kill -9 -1 2>/dev/null; exit 0";

/// Kills all others, waits until they are dead, then becomes the command in the arguments. What is left may be
/// one: the keeper's new `sleep`. If more live on, it says so after the command's marker and exits.
pub(crate) const KILL_ALL_THEN: &str = r#"
kill -9 -1 2>/dev/null
left() {
  left=0
  for dir in /proc/[0-9]*; do
    [ "$dir" = /proc/1 ] || [ "$dir" = /proc/$$ ] && continue
    text=
    { while IFS= read -r line || [ -n "$line" ]; do text="$text $line"; done <"$dir/stat"; } 2>/dev/null
    set -- ${text##*) }
    case ${1:-Z} in Z | X) [ "${18:-1}" -gt 1 ] && left=$((left + 1));; *) left=$((left + 1));; esac
  done
}
read now rest </proc/uptime; end=$((${now%%.*} + 4))
while left; [ $left -gt 1 ]; do
  read now rest </proc/uptime
  if [ ${now%%.*} -ge $end ]; then echo "$HARNESS_EXEC survivors" >&2; exit 125; fi
done
exec "$@"
"#;

/// Exit code of [`KILL_ALL_THEN`] when something survived.
pub(crate) const SURVIVORS: i32 = 125;

/// The variable that marks the processes of one command.
pub(crate) const MARKER: &str = "HARNESS_EXEC";

/// Kills what one command started. Arguments: the command's marker, then the markers of commands that go on.
///
/// A process that the daemon put into the sandbox has parent 0. The command's own one tells since when
/// everything counts as started by it, whatever happened to its environment, session or parent. Spared is what
/// is older, what descends from something older than the command (a server that an earlier command left
/// running), and what descends from commands that go on.
pub(crate) const SWEEP: &str = r#"
own=$1; shift; others=$*
marked() {
  seen=
  { while IFS= read -r line || [ -n "$line" ]; do seen="$seen$line"; done <"/proc/$1/environ"; } 2>/dev/null
  case $seen in *"HARNESS_EXEC=$2"*) return 0;; esac
  return 1
}
uptime() { read -r now rest </proc/uptime; now=${now%%.*}; }
uptime; end=$((now + 4)); since=
while :; do
  list=; guests=; keep=' '; kills=; count=0; orphan=
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}; text=
    { while IFS= read -r line || [ -n "$line" ]; do text="$text $line"; done <"$dir/stat"; } 2>/dev/null
    set -- ${text##*) }
    [ $# -ge 20 ] || continue
    eval "state_$pid=$1 parent_$pid=$2 threads_$pid=${18} start_$pid=${20}"
    list="$list $pid"
    [ "$2" = 0 ] && [ "$pid" != 1 ] && [ "$pid" != $$ ] && guests="$guests $pid"
  done
  if [ -z "$since" ]; then
    for pid in $guests; do
      marked "$pid" "$own" && eval "since=\$start_$pid" && break
    done
  fi
  for pid in $guests; do
    for other in $others; do
      marked "$pid" "$other" && keep="$keep$pid "
    done
  done
  if [ -z "$since" ]; then
    for pid in $guests; do
      case $keep in *" $pid "*) continue;; esac
      eval "start=\$start_$pid"
      if [ -z "$since" ] || [ "$start" -lt "$since" ]; then since=$start; fi
    done
  fi
  [ -n "$since" ] || exit 3
  for pid in $list; do
    [ "$pid" = 1 ] || [ "$pid" = $$ ] && continue
    eval "state=\$state_$pid start=\$start_$pid parent=\$parent_$pid threads=\$threads_$pid"
    case $state in Z | X) [ "$threads" -gt 1 ] || continue;; esac
    [ "$start" -ge "$since" ] || continue
    at=$pid; up=$parent; depth=0
    while [ "$up" != 0 ] && [ "$up" != 1 ] && [ $depth -lt 500 ]; do
      eval "above=\${start_$up:-0}"
      [ "$above" -ge "$since" ] || continue 2
      at=$up; eval "up=\${parent_$up:-0}"; depth=$((depth + 1))
    done
    case $keep in *" $at "*) continue;; esac
    kills="$kills $pid"; count=$((count + 1))
    [ "$parent" = 1 ] && orphan=yes
  done
  [ $count -gt 0 ] && kill -9 $kills 2>/dev/null
  [ $count -eq 0 ] && exit 0
  [ $count -eq 1 ] && [ "$orphan" = yes ] && [ "$respawned" = yes ] && exit 0
  [ $count -eq 1 ] && [ "$orphan" = yes ] && respawned=yes || respawned=
  uptime; [ "$now" -lt "$end" ] || exit 4
done
"#;
