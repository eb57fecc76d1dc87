#!/usr/bin/perl
# cov.pl - branch coverage of the cores, from what gcov says of a build with --coverage.
#
#   cov.pl OBJECTS-FOLDER EXCLUDED [--missed] SOURCE...
#
# Prints for each source how many of its branches were taken at least once, and the total. A branch is a way
# out of a condition, each operand of && and || being one. Branches of ASSERT and UNREACHABLE do not count:
# nothing may take them; nor do those that the table EXCLUDED names, whose number is printed. --missed lists
# the lines with branches never taken instead.
use strict;
use warnings;

my ($dir, $table, $missed, @sources) = (shift @ARGV, shift @ARGV, 0);
for (@ARGV) { $_ eq '--missed' ? $missed = 1 : push @sources, $_ }

# Rows of the table: file, pattern, why, branches left out, and of these taken.
my @excluded;
open my $in, '<', $table or die "$table: $!\n";
while (my $l = <$in>) {
    next if $l =~ /^#|^\s*$/;
    chomp $l;
    my ($file, $rest) = split / \| /, $l, 2;
    my ($pattern, $why) = $rest =~ /^(.*) \| (.*)$/ or die "$table:$.: FILE | REGEX | WHY\n";
    push @excluded, [$file, $pattern eq '*' ? qr// : qr/$pattern/, $why, 0, 0, $pattern];
}
close $in;

sub exclude {
    my ($source, $line) = @_;
    for my $e (@excluded) {
        next unless ($e->[0] eq '*' || $e->[0] eq $source) && ($e->[5] eq '*' || $line->[1] =~ $e->[1]);
        $e->[3] += $line->[3];
        $e->[4] += $line->[2];
        return 1;
    }
    return 0;
}

# [line, text, taken, all] of every line with branches that count; undef if the source was never run.
sub branches {
    my ($source) = @_;
    (my $data = "$dir/$source") =~ s/\.c$/.gcda/;
    return undef unless -e $data;
    open my $out, '-|', 'gcov', '-t', '-b', '-c', '-o', $data, $source or die "gcov: $!\n";
    my (@lines, $at, $mine);
    while (my $l = <$out>) {
        if ($l =~ /^\s*-:\s*0:Source:(.*)$/) { $mine = $1 eq $source; undef $at }
        next unless $mine;
        if ($l =~ /^\s*[^:]+:\s*(\d+):(.*)$/ && $1 > 0) {
            $at = $2 =~ /\b(ASSERT|UNREACHABLE)\(/ ? undef : [$1, $2, 0, 0];
            push @lines, $at if $at;
        }
        elsif ($l =~ /^branch\s+\d+ (?:taken (\d+)|never executed)/ && $at) {
            $at->[3]++;
            $at->[2]++ if $1;
        }
    }
    close $out;
    return [grep { $_->[3] > 0 } @lines];
}

my ($taken, $all) = (0, 0);
printf "%-36s %8s %8s %6s\n", 'file', 'branches', 'taken', '%' unless $missed;
for my $source (@sources) {
    my $lines = branches($source);
    unless ($lines) { printf "%-36s %8s\n", $source, 'not run'; next }
    my ($t, $n) = (0, 0);
    for (grep { !exclude($source, $_) } @$lines) {
        $t += $_->[2];
        $n += $_->[3];
        printf "%s:%d: %d of %d taken:%s\n", $source, $_->[0], $_->[2], $_->[3], $_->[1] =~ s/^\s*/ /r
            if $missed && $_->[2] < $_->[3];
    }
    printf "%-36s %8d %8d %6.1f\n", $source, $n, $t, 100 * $t / $n if !$missed && $n > 0;
    $taken += $t;
    $all   += $n;
}
printf "%-36s %8d %8d %6.1f\n", 'all', $all, $taken, $all ? 100 * $taken / $all : 0;
my ($out, $out_taken) = (0, 0);
for (@excluded) { $out += $_->[3]; $out_taken += $_->[4] }
printf "%-36s %8d %8d %6.1f  by %d rows of %s\n", 'left out', $out, $out_taken,
    $out ? 100 * $out_taken / $out : 0, scalar @excluded, $table;
printf "%-36s %8d %8d %6.1f\n", 'with them', $all + $out, $taken + $out_taken,
    $all + $out ? 100 * ($taken + $out_taken) / ($all + $out) : 0;
