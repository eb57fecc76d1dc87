#!/usr/bin/perl
# mutants.pl - plants the bugs of a table one by one and sees whether the simulator finds them.
#
#   mutants.pl TABLE [--seeds N] [--sample] [--base] [NAME...]
#
# Every mutant (format: the table's head) is the simulator built from the same objects but those of the
# files it changes, which are compiled from a private copy under build/mutants/NAME. It runs seeds from 1
# until one fails, at most N; unit tests run for those that the table leaves to them. Printed: how many
# seeds that took and which check said it. --base runs the same seeds on the program as it is first; they
# must pass. --sample takes the mutants marked so.
#
# Fails if a text to be replaced is not in its file exactly once, if a mutant does not build, or if one
# survives. From the environment: CC, MUT_CFLAGS, MUT_LDFLAGS, MUT_LIBS, MUT_OBJECTS, MUT_BUILD (the
# objects' folder), MUT_SIM and MUT_UNIT (the programs without mutants), MUT_UNIT_OBJECTS, MUT_UNIT_LIBS.
use strict;
use warnings;
use Time::HiRes qw(time);

my ($seeds, $sample, $base, $table, @wanted) = (400, 0, 0);
while (defined(my $a = shift @ARGV)) {
    if    ($a eq '--seeds')  { $seeds  = shift @ARGV }
    elsif ($a eq '--sample') { $sample = 1 }
    elsif ($a eq '--base')   { $base   = 1 }
    elsif (!defined $table)  { $table  = $a }
    else                     { push @wanted, $a }
}
for my $v (qw(CC MUT_CFLAGS MUT_LDFLAGS MUT_LIBS MUT_OBJECTS MUT_BUILD MUT_SIM)) {
    die "mutants.pl: $v is not set: run it by make mutants\n" unless defined $ENV{$v};
}
my $dir = 'build/mutants';
my $SECONDS = 30;    # of the processor; a seed that takes more (SIGPROF, 27) hangs

# ---------------------------------------------------------------- the table

sub read_table {
    my ($path) = @_;
    my (@all, $m);
    open my $in, '<', $path or die "$path: $!\n";
    while (my $line = <$in>) {
        chomp $line;
        next if $line =~ /^#/ || $line =~ /^\s*$/;
        if ($line =~ /^mutant (\w+)( sample)?$/) {
            $m = {name => $1, sample => defined $2, changes => [], breaks => ''};
            push @all, $m;
        }
        elsif (!$m) { die "$path:$.: expected 'mutant NAME'\n" }
        elsif ($line =~ /^breaks (.+)$/) { $m->{breaks} = $1 }
        elsif ($line =~ /^unit (\w+)$/)  { $m->{unit}   = $1 }
        elsif ($line =~ /^else (\w+)$/)  { $m->{else}   = $1 }
        elsif ($line =~ /^file (\S+)$/)  { push @{$m->{changes}}, {file => $1} }
        elsif ($line =~ /^after (.+)$/) { $m->{changes}[-1]{after} = $1 }
        elsif ($line =~ /^- (.+)$/)     { $m->{changes}[-1]{old} = $1 }
        elsif ($line =~ /^\+ ?(.*)$/) { $m->{changes}[-1]{new} = $1 }
        else { die "$path:$.: what is '$line'?\n" }
    }
    my %seen;
    for (@all) {
        die "$path: mutant $_->{name} is there twice\n" if $seen{$_->{name}}++;
        die "$path: mutant $_->{name} is not complete\n"
            if !$_->{breaks} || !@{$_->{changes}} || grep { !defined $_->{old} || !defined $_->{new} } @{$_->{changes}};
    }
    return @all;
}

sub slurp { open my $f, '<', $_[0] or die "$_[0]: $!\n"; local $/; my $text = <$f>; return $text }

# Texts of the changed files: {file => text}; dies if a text is not there exactly once.
sub changed {
    my ($m) = @_;
    my %text;
    for my $c (@{$m->{changes}}) {
        $text{$c->{file}} = slurp($c->{file}) unless defined $text{$c->{file}};
        my $unique = $c->{after} // $c->{old};
        my $n = () = $text{$c->{file}} =~ /\Q$unique\E/g;
        die "mutant $m->{name}: this is $n times in $c->{file}, not once: $unique\n" if $n != 1;
        my $after = defined $c->{after} ? quotemeta($c->{after}) . '.*?' : '';
        $text{$c->{file}} =~ s/($after)\Q$c->{old}\E/$1$c->{new}/s
            or die "mutant $m->{name}: not in $c->{file} after its place: $c->{old}\n";
    }
    return \%text;
}

# ---------------------------------------------------------------- building

sub run { my ($cmd) = @_; return system('sh', '-c', $cmd) == 0 }

sub build {
    my ($m, $unit) = @_;
    my $to = "$dir/$m->{name}";
    my $objects = $unit ? $ENV{MUT_UNIT_OBJECTS} : $ENV{MUT_OBJECTS};
    my $libs    = $unit ? $ENV{MUT_UNIT_LIBS}    : $ENV{MUT_LIBS};
    mkdir $to;
    my $text = changed($m);
    for my $file (sort keys %$text) {
        (my $flat = $file) =~ s{/}{-}g;
        open my $f, '>', "$to/$flat" or die "$to/$flat: $!\n";
        print $f $text->{$file};
        close $f;
        (my $object = "$ENV{MUT_BUILD}/$file") =~ s/\.c$/.o/;
        (my $mine   = "$to/$flat")             =~ s/\.c$/.o/;
        run("$ENV{CC} $ENV{MUT_CFLAGS} -w -c $to/$flat -o $mine") or return 0;
        $objects =~ s/(?<!\S)\Q$object\E(?!\S)/$mine/ or die "$object is not among the objects\n";
    }
    return run("$ENV{CC} $ENV{MUT_LDFLAGS} $objects -o $to/program $libs");
}

# Two at a time. The names of those that did not build.
sub build_all {
    my @left = @_;
    my (%running, @failed);
    while (@left || %running) {
        while (@left && keys %running < 2) {
            my $m   = shift @left;
            my $pid = fork;
            die "fork: $!\n" unless defined $pid;
            if ($pid == 0) { my $ok = build($m, defined $m->{unit}); require POSIX; POSIX::_exit($ok ? 0 : 1) }
            $running{$pid} = $m;
        }
        my $pid = wait;
        my $m   = delete $running{$pid};
        push @failed, $m->{name} if $m && $? != 0;
    }
    return @failed;
}

# ---------------------------------------------------------------- running

sub shorten { my ($s) = @_; return length $s > 110 ? substr($s, 0, 107) . '...' : $s }

sub hunt_by_unit_tests {
    my ($m, $suite) = @_;
    my $log = "$dir/$m->{name}/log";
    my $ok = run("CK_RUN_SUITE=$suite CK_VERBOSITY=normal $dir/$m->{name}/program >$log 2>&1");
    return () if $ok;
    my ($test) = slurp($log) =~ /^[^:\n]+:\d+:[FE]:[^:\n]*:(\w+):/m;
    return ('unit', "unit tests: $suite" . (defined $test ? ": $test" : ''));
}

# (seed count, what said it), or () if all pass.
sub hunt {
    my ($m) = @_;
    my $log = "$dir/$m->{name}/log";
    return hunt_by_unit_tests($m, $m->{unit}) if defined $m->{unit};
    run("$dir/$m->{name}/program --seeds $seeds --start 1 --first --seconds $SECONDS >$log 2>&1");
    my ($first, $said);
    my %why;
    my $before = '';
    for my $line (split /\n/, slurp($log)) {
        if ($line =~ /^seed (\d+) failed.*?: (.*)/)           { $why{$1} = $2 }
        elsif ($line =~ /^seed (\d+) ended by signal (.*)/) {
            my ($seed, $signal) = ($1, $2);
            $why{$seed} = $signal =~ /^27/ ? 'it hangs' : "signal $signal: $before";
        }
        elsif ($line =~ /^FAILED: \S+ --seed (\d+)/) { $first = $1 if !defined $first || $1 < $first }
        $before = $line;
    }
    if (!defined $first && defined $m->{else}) {
        build($m, 1) or die "$m->{name}: its unit tests do not build\n";
        return hunt_by_unit_tests($m, $m->{else});
    }
    return () unless defined $first;
    return ($first, shorten($why{$first} // 'it ended'));
}

# ---------------------------------------------------------------- all of it

my @all = read_table($table);
changed($_) for @all;    # every text is in its place, whatever part is run
if (@wanted) {
    my %known = map { $_->{name} => $_ } @all;
    for (@wanted) { die "mutants.pl: there is no mutant $_\n" unless $known{$_} }
    @all = map { $known{$_} } @wanted;
}
elsif ($sample) { @all = grep { $_->{sample} } @all }
mkdir 'build';
mkdir $dir;
$| = 1;
my $began  = time;
my @unbuilt = build_all(@all);
die "mutants that do not build: @unbuilt\n" if @unbuilt;
printf "%d mutants built in %.0f s\n", scalar @all, time - $began;
if ($base) {
    my $t = time;
    run("$ENV{MUT_SIM} --seeds $seeds --start 1 >$dir/base.log 2>&1")
        or die slurp("$dir/base.log") . "seeds fail without a mutant\n";
    printf "without a mutant: %d seeds pass, %.0f s\n", $seeds, time - $t;
}
my %suites = map { $_ => 1 } grep { defined } map { ($_->{unit}, $_->{else}) } @all;
for my $suite (sort keys %suites) {
    run("CK_RUN_SUITE=$suite CK_VERBOSITY=silent $ENV{MUT_UNIT} >$dir/base.log 2>&1")
        or die slurp("$dir/base.log") . "unit tests fail without a mutant: $suite\n";
}
my ($by_unit, @alive) = (0);
printf "%-32s %5s  %s\n", 'mutant', 'seeds', 'what said it';
for my $m (@all) {
    my ($count, $said) = hunt($m);
    push @alive, $m->{name} unless defined $count;
    $by_unit++ if defined $count && $count eq 'unit';
    printf "%-32s %5s  %s\n", $m->{name}, $count // '-', $said // "SURVIVES: $m->{breaks}";
    unlink "$dir/$m->{name}/program";
}
printf "%d mutants: %d found by the simulator within %d seeds, %d by unit tests, %.0f s\n", scalar @all,
    @all - @alive - $by_unit, $seeds, $by_unit, time - $began;
print "survived: @alive\n" if @alive;
exit(@alive ? 1 : 0);
