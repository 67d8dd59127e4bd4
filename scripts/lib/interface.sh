# Sourced. The interface: npm packages and the built files that go into the binary.

# need_npm FOLDER: installs what FOLDER/package-lock.json names, if it is not what was installed last.
need_npm() {
    local folder=$1 installed=$1/node_modules/.installed-lock.json
    if cmp --silent "$folder/package-lock.json" "$installed"; then
        return
    fi
    say "Installing npm packages in $folder"
    npm ci --prefix "$folder" --no-audit --no-fund
    cp "$folder/package-lock.json" "$installed"
}

# build_interface: builds ui/dist, if anything in ui is newer than the last build.
build_interface() {
    local built=target/interface-built
    if [ -e ui/dist/index.html ] && [ -e "$built" ] && [ -z "$(changed_since "$built")" ]; then
        return
    fi
    say "Building the interface"
    npm run --silent build --prefix ui
    mkdir -p target
    touch "$built"
}

# changed_since FILE: the first source of the interface that is newer, if there is one. Folders
# count too: their time changes when a file in them is removed.
changed_since() {
    find ui -mindepth 1 \( -name node_modules -o -name dist -o -name test-results \) -prune \
        -o -newer "$1" -print -quit
}
