# plot.awk - the results of bench.sh as a picture: how fast each filesystem is, as a part of what FUSE allows.
#
#   awk -f figures.awk -f plot.awk bench.tsv >bench.svg
#
# One line for each row, a mark for each system, on a logarithmic axis where 1 is the limit. The first table is drawn.
function x_of(v) { v = v < low ? low : v > high ? high : v; return left + width * log(v / low) / log(high / low) }
function speed(row, s,    a, b) { # as a part of the limit's
    a = median(row, s); b = median(row, "limit")
    if (a == "" || b == "" || a == 0 || b == 0) return ""
    return unit[row] == "s" ? b / a : a / b
}
function text(x, y, anchor, what) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, what
}
END {
    left = 300; width = 480; top = 60; step = 24; low = 0.02; high = 3
    color["gfs"] = "#0b6e4f"; color["moosefs"] = "#d98324"; color["durable"] = "#8a5a83"
    for (i = 1; i <= row_count; i++) if (table_of[rows[i]] == tables[1] && median(rows[i], "limit") != "") drawn[++n] = rows[i]
    if (n == 0) {
        print "plot: no figures of the limit: nothing to draw" >"/dev/stderr"
        exit 1
    }
    height = top + n * step + 40
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n", left + width + 40, height
    printf "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
    at = left
    for (s = 1; s <= systems; s++) if (sys_name[s] in color && (tables[1], sys_name[s]) in ran) {
        printf "<circle cx=\"%d\" cy=\"20\" r=\"6\" fill=\"%s\"/>\n", at, color[sys_name[s]]
        text(at + 12, 24, "start", title[sys_name[s]])
        at += 150
    }
    ticks = split("0.02 0.05 0.1 0.2 0.5 1 2", tick, " ")
    for (i = 1; i <= ticks; i++) {
        x = x_of(tick[i])
        printf "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\"/>\n", x, top - 8, x, top + n * step, tick[i] == 1 ? "#000" : "#ddd"
        text(x, top + n * step + 18, "middle", tick[i])
    }
    text(left + width / 2, height - 6, "middle", "speed, as a part of what FUSE's pass-through reaches (more is better)")
    for (i = 1; i <= n; i++) {
        y = top + (i - 0.5) * step
        text(left - 12, y + 4, "end", what[drawn[i]])
        printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#eee\"/>\n", left, y, left + width, y
        for (s = systems; s >= 1; s--) {
            v = sys_name[s] in color ? speed(drawn[i], sys_name[s]) : ""
            if (v != "") printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" fill=\"%s\"/>\n", x_of(v), y, color[sys_name[s]]
        }
    }
    print "</svg>"
}
