# Which Python to build on; for the scripts beside this one.

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    say "Python 3.11 to 3.14 is needed, and $(python3 --version 2>/dev/null || echo 'no python3') is what there is."
    say "Install it (Debian 12, Ubuntu 24.04: sudo apt install python3 python3-venv), or name one: PYTHON=/path/to/python3.12 make ..."
    return 1
}

check_venv() {
    if ! "$1" -c 'import venv, ensurepip' 2>/dev/null; then
        say "$("$1" --version) cannot make virtual environments: its venv package is missing."
        say "Debian, Ubuntu: sudo apt install python3-venv"
        return 1
    fi
}
