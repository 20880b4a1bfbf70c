#!/bin/sh
# Make .venv from a Python 3.11–3.13, install exactly what requirements.lock pins, then touch the stamp named by $1.
# Run by make, from the checkout.
set -eu

stop() {
    echo "make: $1" >&2
    [ $# -lt 2 ] || echo "  → $2" >&2
    exit 1
}

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
seen=''
python=''
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    "$candidate" -c "$supported" >/dev/null 2>&1 || continue
    seen=$candidate
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$seen" ] || stop "no Python 3.11, 3.12 or 3.13 found" "install one, or name it: make PYTHON=/path/to/python3.12"
[ -n "$python" ] || stop "$seen cannot make virtual environments (ensurepip is missing)" \
    "install its venv package (Debian, Ubuntu: apt install python3-venv), or name another Python: make PYTHON=…"

# What is there is kept only if it runs, is of a supported version, has pip and stands where it was made.
if ! .venv/bin/python -c "$supported" >/dev/null 2>&1 || ! .venv/bin/python -m pip --version >/dev/null 2>&1 \
    || [ "$(cat .venv/.made-at 2>/dev/null || pwd)" != "$(pwd)" ]; then
    rm -rf .venv
    echo "making .venv with $("$python" --version)"
    "$python" -m venv .venv || stop "$python -m venv failed" "see above"
    pwd >.venv/.made-at
fi

wanted=$(grep -c '^[a-zA-Z0-9].*==' requirements.lock)
log=.venv/install.log
echo "installing $wanted packages from requirements.lock (the first time takes a minute or two)"
{
    status=0
    .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --require-hashes -r requirements.lock 2>&1 || status=$?
    echo "$status" >.venv/.pip-status
} | tee "$log" | awk '
    /^(Collecting|Requirement already satisfied)/ { fetched++; if (fetched % 20 == 0) { print "  " fetched " packages looked at"; fflush() } }
    /^Installing collected/ { print "  all fetched; installing"; fflush() }'
if [ "$(cat .venv/.pip-status)" != 0 ]; then
    grep ERROR "$log" | tail -3 >&2 || true
    stop "the packages could not be installed (all of pip's output: $log)" \
        "is the Python package index reachable? pip config list shows which one is asked; then run make again"
fi
.venv/bin/python -m devstack.entrypoint
touch "$1"
