# report.awk - the results of bench.sh as tables for people, and as JSON.
#
#   awk -f figures.awk -f report.awk -v json=FILE -v passes_wanted=N -v quick=1 bench.tsv
function short(v) {
    if (v == "") return "-"
    return v >= 10000 ? sprintf("%.1f k", v / 1000) : v >= 100 ? sprintf("%.0f", v) : v >= 10 ? sprintf("%.1f", v) : sprintf("%.2f", v)
}
# Seconds for one GiB, or for 1,000 operations; work is in MiB or operations.
function cost(row, s, p) {
    if (!((row, s, p) in has_cpu) || all_work[row, s] == 0) return ""
    return cpu[row, s, p] * (unit[row] == "MB/s" ? 1024 : 1000) / all_work[row, s]
}
function print_table(t,    i, s, r) {
    printf "\n%s\n%-42s %5s", t == "disk" ? "Data on a disk" : "Data on tmpfs: what the software costs", "", ""
    for (s = 1; s <= systems; s++) if ((t, sys_name[s]) in ran) printf " %15s", title[sys_name[s]]
    printf "   gfs to:"
    for (s = 2; s <= systems; s++) if ((t, sys_name[s]) in ran) printf " %8s", sys_name[s]
    printf "\n"
    for (i = 1; i <= row_count; i++) {
        r = rows[i]
        if (table_of[r] != t) continue
        printf "%-42s %5s", what[r], unit[r]
        for (s = 1; s <= systems; s++) if ((t, sys_name[s]) in ran) printf " %15s", short(median(r, sys_name[s]))
        printf "          "
        for (s = 2; s <= systems; s++) if ((t, sys_name[s]) in ran) printf " %8s", ratio(r, sys_name[s]) == "" ? "-" : sprintf("%.2f", ratio(r, sys_name[s]))
        printf "\n"
    }
    print "(ratios: above 1 gfs is better)"
}
function print_costs(t,    i, s, p, r, sum, one, line) {
    printf "\nProcessor seconds per GiB (MB/s) or per 1,000 operations: client+mount+chunkservers+master; system calls of the servers per MiB or operation\n"
    printf "%-42s %5s", "", ""
    for (s = 1; s <= systems; s++) if ((t, sys_name[s]) in ran) printf " %32s %7s", title[sys_name[s]], "calls"
    printf "\n"
    for (i = 1; i <= row_count; i++) {
        r = rows[i]
        if (table_of[r] != t) continue
        printf "%-42s %5s", what[r], unit[r]
        for (s = 1; s <= systems; s++) {
            if (!((t, sys_name[s]) in ran)) continue
            line = ""; sum = 0
            for (p = 1; p <= parts; p++) {
                one = cost(r, sys_name[s], part[p])
                if (one == "") continue
                sum += one
                line = line (p == 1 ? "" : "+") sprintf("%.2f", one)
            }
            printf " %32s %7s", line == "" ? "-" : line " = " sprintf("%.2f", sum), (r, sys_name[s]) in calls ? short(calls[r, sys_name[s]]) : "-"
        }
        printf "\n"
    }
}
function print_master(    b, o, c, m, one, line) {
    printf "\n%-67s", "The master, operations per second"
    for (c = 1; c <= connection_count; c++) printf "%9s", connections[c]
    print "  connections"
    for (b = 1; b <= backing_count; b++) for (o = 1; o <= operation_count; o++) for (m = 1; m <= shadows_count; m++) {
        one = operation[o]; sub(/_confined/, ", 0.4 processors each", one)
        printf "  %-65s", one ", log on " backing[b] (shadows[m] > 0 ? ", 3 loggers, " shadows[m] " shadow" (shadows[m] > 1 ? "s" : "") : "")
        line = ""
        for (c = 1; c <= connection_count; c++) {
            printf "%9s", short(master_rate(backing[b], shadows[m], connections[c], operation[o]))
            one = master_rate(backing[b], shadows[1], connections[c], operation[o])
            line = line sprintf("%9s", one > 0 ? sprintf("%.2f", master_rate(backing[b], shadows[m], connections[c], operation[o]) / one) : "-")
        }
        print ""
        if (m > 1) printf "  %-65s%s\n", "  as a part of that of one", line
    }
}
function number(v) { return v == "" ? "null" : sprintf("%.6g", v) }
function print_json(    i, s, p, r, n, comma, inner) {
    printf("{\n  \"passes\": %d, \"quick\": %s,\n  \"rows\": [", passes_wanted, quick ? "true" : "false") >json
    for (i = 1; i <= row_count; i++) {
        r = rows[i]
        printf("%s\n    {\"table\": \"%s\", \"row\": \"%s\", \"what\": \"%s\", \"unit\": \"%s\", \"systems\": {", i > 1 ? "," : "", table_of[r], name[r], what[r], unit[r]) >json
        comma = ""
        for (s = 1; s <= systems; s++) {
            n = passes[r, sys_name[s]]
            if (n == 0) continue
            printf("%s\n      \"%s\": {\"median\": %s, \"passes\": [", comma, sys_name[s], number(median(r, sys_name[s]))) >json
            for (p = 1; p <= n; p++) printf("%s%s", p > 1 ? ", " : "", number(figure[r, sys_name[s], p])) >json
            printf("], \"cpu\": {") >json
            inner = ""
            for (p = 1; p <= parts; p++) if (cost(r, sys_name[s], part[p]) != "") {
                printf("%s\"%s\": %s", inner, part[p], number(cost(r, sys_name[s], part[p]))) >json
                inner = ", "
            }
            printf("}, \"calls\": %s}", (r, sys_name[s]) in calls ? number(calls[r, sys_name[s]]) : "null") >json
            comma = ","
        }
        printf("},\n     \"ratio\": {") >json
        for (s = 2; s <= systems; s++) printf("%s\"%s\": %s", s > 2 ? ", " : "", sys_name[s], number(ratio(r, sys_name[s]))) >json
        printf("}}") >json
    }
    printf("\n  ],\n  \"master\": [") >json
    comma = ""
    for (i = 1; i <= backing_count; i++) for (s = 1; s <= operation_count; s++) for (n = 1; n <= shadows_count; n++) for (p = 1; p <= connection_count; p++)
        if (rates[backing[i], shadows[n], connections[p], operation[s]] > 0) {
            printf("%s\n    {\"log\": \"%s\", \"operation\": \"%s\", \"loggers\": %d, \"shadows\": %d, \"connections\": %d, \"per_second\": %s}", comma, backing[i], operation[s], shadows[n] > 0 ? 3 : 1, shadows[n], connections[p], number(master_rate(backing[i], shadows[n], connections[p], operation[s]))) >json
            comma = ","
        }
    printf("\n  ]\n}\n") >json
    close(json)
}
END {
    for (t = 1; t <= table_count; t++) { print_table(tables[t]); print_costs(tables[t]) }
    if (backing_count > 0) print_master()
    if (json != "") print_json()
}
