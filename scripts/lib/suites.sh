# Sourced. Runs the files of scripts/suites one after the other and adds up what they report.
#
# A suite that starts with a line "# check" counts as one test, passed or failed; the figures of
# the others are read from their output, and one without figures has failed.

logs=target/test-logs
summary=()
total_passed=0
total_failed=0

# suite_names: in the order in which they run, without the number.
suite_names() {
    local file
    for file in scripts/suites/*; do
        basename "$file" | sed 's/^[0-9]*-//'
    done
}

# run_suite NAME: shows and keeps its output, and remembers the counts.
run_suite() {
    local name=$1 log=$logs/$1.log started=$SECONDS passed failed skipped succeeded=yes file
    file=$(find scripts/suites -name "[0-9]*-$name")
    [ -n "$file" ] || die "there is no suite \"$name\"; there are: $(suite_names | tr '\n' ' ')"
    mkdir -p "$logs"
    say "Suite $name: $(sed -n 's/^# check: //p; s/^# tests: //p' "$file")"
    "$file" 2>&1 | tee "$log" || succeeded=no
    if grep -q '^# check: ' "$file"; then
        passed=$([ "$succeeded" = yes ] && echo 1 || echo 0)
        failed=$((1 - passed))
        skipped=0
    else
        read -r passed failed skipped < <(node scripts/lib/counts.mjs "$log")
        # What broke off, or ran nothing, has failed even if no test says so.
        if [ "$failed" -eq 0 ] && { [ "$succeeded" = no ] || [ "$passed" -eq 0 ]; }; then
            failed=1
        fi
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    summary+=("$(printf '%-18s %6d passed %4d failed %4d skipped %5d s' "$name" "$passed" "$failed" "$skipped" $((SECONDS - started)))")
    say "${summary[-1]}"
}

# print_summary: the counts per suite, then the sums alone on the last line.
print_summary() {
    say "Summary (logs in $logs, $SECONDS s in all)"
    printf '    %s\n' "${summary[@]}"
    printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
    [ "$total_failed" -eq 0 ]
}
