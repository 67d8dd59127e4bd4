# Sourced. System packages: says which are missing and installs only those.

# package_names LIST...: the packages of scripts/packages/LIST, without comments.
package_names() {
    local list
    for list in "$@"; do
        grep -v '^#' "scripts/packages/$list"
    done
}

# missing_packages NAME...: those that dpkg does not report as installed.
missing_packages() {
    local installed
    installed=$(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        awk '$2 == "installed" { print $1 }' || true)
    comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$installed" | sort -u)
}

# need_packages LIST...: makes sure that every package of the lists is there.
need_packages() {
    local names missing
    mapfile -t names < <(package_names "$@")
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "Not a Debian system: taking for granted what these Debian packages bring: ${names[*]}"
        return
    fi
    mapfile -t missing < <(missing_packages "${names[@]}")
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    say "Installing system packages: ${missing[*]}"
    if [ "$(id -u)" -eq 0 ]; then
        scripts/lib/install-packages "${missing[@]}"
    elif command -v sudo >/dev/null; then
        sudo scripts/lib/install-packages "${missing[@]}"
    else
        die "these packages are missing, and there is no sudo. As root: apt-get install ${missing[*]}"
    fi
}
