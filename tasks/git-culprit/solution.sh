# Searches the history for the line of sample a, bisects for sample b.
cd /home/agent/repo || exit 1
case "$HARNESS_SAMPLE" in
a)
    git log --reverse --format=%H -S 'RETRIES = 30' -- fetch.py | head -n 1
    ;;
b)
    git bisect start main "$(git rev-list --max-parents=0 main)" >&2
    git bisect run sh -c 'PYTHONPATH=. python3 -B /data/selftest.py' >&2
    git rev-parse refs/bisect/bad
    git bisect reset >&2
    ;;
esac
