# figures.awk - reads the results of bench.sh, for report.awk and plot.awk: median(row, system), ratio(row, system), costs.
#
# Input: lines "table row unit what system FIGURE,WORK seconds,S,NAME,CPU..." (tabs; blanks inside the last two), and with
# "calls" for what, the number of system calls as the last field. Lines "master TABLE CONNECTIONS OPERATION RATE
# SHADOWS" are the master alone, and the primary of three loggers with one or two of the others shadows, too. A figure is the median of its passes. A ratio above 1 always says that gfs is better.
BEGIN {
    FS = "\t"
    title["gfs"] = "gfs"; title["moosefs"] = "MooseFS 3.0"; title["durable"] = "MooseFS durable"; title["limit"] = "FUSE limit"; title["loggers"] = "gfs, 3 masters"
    systems = split("gfs moosefs durable limit loggers", sys_name, " ")
    parts = split("client mount chunkd master", part, " ")
}
$1 == "master" {
    n = ++rates[$2, $6, $3, $4]
    rate[$2, $6, $3, $4, n] = $5
    if (!(($3) in has_connections)) { has_connections[$3] = 1; connections[++connection_count] = $3 }
    if (!(($4) in has_operation)) { has_operation[$4] = 1; operation[++operation_count] = $4 }
    if (!(($2) in has_backing)) { has_backing[$2] = 1; backing[++backing_count] = $2 }
    if (!(($6) in has_shadows)) { has_shadows[$6] = 1; shadows[++shadows_count] = $6 }
    next
}
{
    row = $1 SUBSEP $2
    split($6, f, " ")
    if (!(row in unit)) {
        rows[++row_count] = row; unit[row] = $3
        if (!($1 in has_table)) { has_table[$1] = 1; tables[++table_count] = $1 }
        table_of[row] = $1; name[row] = $2
    }
}
$4 == "calls" { calls[row, $5] = $7 / f[2]; next }
{
    what[row] = $4
    n = ++passes[row, $5]
    figure[row, $5, n] = f[1]
    work[row, $5, n] = f[2]
    fields = split($7, c, " ")
    for (i = 3; i < fields; i += 2) { cpu[row, $5, c[i]] += c[i + 1]; has_cpu[row, $5, c[i]] = 1 }
    all_work[row, $5] += f[2]
    ran[$1, $5] = 1
}
function middle(v, n,    i, j, t, u) { # of v[1] to v[n]
    if (n == 0) return ""
    for (i = 1; i <= n; i++) {
        t = v[i] + 0
        for (j = i - 1; j >= 1 && u[j] > t; j--) u[j + 1] = u[j]
        u[j + 1] = t
    }
    return n % 2 ? u[(n + 1) / 2] : (u[n / 2] + u[n / 2 + 1]) / 2
}
function median(row, s,    i, v) {
    for (i = 1; i <= passes[row, s]; i++) v[i] = figure[row, s, i]
    return middle(v, passes[row, s] + 0)
}
function master_rate(b, m, c, o,    i, v) {
    for (i = 1; i <= rates[b, m, c, o]; i++) v[i] = rate[b, m, c, o, i]
    return middle(v, rates[b, m, c, o] + 0)
}
function ratio(row, s,    a, b) {
    a = median(row, "gfs"); b = median(row, s)
    if (a == "" || b == "" || a == 0 || b == 0) return ""
    return unit[row] == "s" ? b / a : a / b
}
