# Sourced. Rust, Node and git are what a machine has to bring along.

# need_tools: says which of them is missing or too old, and where to get it.
need_tools() {
    command -v git >/dev/null || die "git is missing: apt-get install git"
    command -v cargo >/dev/null || die "Rust is missing: https://rustup.rs"
    command -v node >/dev/null || die "Node is missing: https://nodejs.org, version 20 or later"
    command -v npm >/dev/null || die "npm is missing: it comes with Node, https://nodejs.org"
    local major
    major=$(node --print 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || die "Node $(node --version) is too old: version 20 or later is needed"
}
