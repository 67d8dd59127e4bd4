# Sourced by the scripts beside this folder: goes to the top of the repository, and talks.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# say TEXT: what is being done.
say() {
    printf '\033[1m==>\033[0m %s\n' "$*"
}

# die TEXT: what is wrong and what helps.
die() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}
