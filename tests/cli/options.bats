# The command line itself: what is understood, what is refused, and how.

load helper

# refused COMPLAINT ARGUMENT...: Exit 2, and one line that says so.
refused() {
    local complaint=$1
    shift
    run mr "$@"
    [ "$status" -eq 2 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == "mr: $complaint" ]] || {
        echo "said: $output"
        false
    }
}

@test "without a command there is nothing to do" {
    refused "no command given; see 'mr --help'"
}

@test "an unknown command is named, with the likely one" {
    refused "unknown command 'frobnicate'; see 'mr --help'" frobnicate
    refused "unknown command 'mpa'; did you mean 'map'? see 'mr --help'" mpa
    refused "unknown command 'redcue'; did you mean 'reduce'? see 'mr --help'" \
        redcue x
}

@test "an unknown option is named, with the likely one" {
    refused "map: unknown option '--frob'; see 'mr map --help'" map --frob x
    refused "map: unknown option '-Z'; see 'mr map --help'" map x -qZ
    refused "map: unknown option '--outptu'; did you mean '--output'? see 'mr map --help'" \
        map --outptu=x x
    refused "reduce: unknown option '--fromat'; did you mean '--format'? see 'mr reduce --help'" \
        reduce x --fromat csv
    # An option of another command is unknown here.
    refused "inspect: unknown option '--spec'; see 'mr inspect --help'" \
        inspect --spec lake x
    refused "unknown option '--output'; see 'mr --help'" --output x map y
}

@test "numbers are checked against their range" {
    local value
    for value in 0 1025 -1 '' 4x 0x10 99999999999999999999; do
        run mr map -j "$value" x
        [ "$status" -eq 2 ]
        [[ $output == *"'--threads' cannot be '$value': it must be a whole number from 1 to 1024"* ]]
    done
    for value in 0 367 -1 7d; do
        run mr reduce --retention "$value" x
        [ "$status" -eq 2 ]
        [[ $output == *"'--retention' cannot be '$value': it must be a whole number from 1 to 366"* ]]
    done
    for value in 0/2 3/2 1 1/ /2 1/2/3 1/65536 -1/2; do
        run mr map --shard "$value" x
        [ "$status" -eq 2 ]
        [[ $output == *"'--shard' cannot be '$value'"* ]]
    done
    for value in -1 100.000001 101 1e1 0.1234567 . 1. .5 '5 %' nan; do
        run mr map --max-bad "$value" x
        [ "$status" -eq 2 ]
        [[ $output == *"'--max-bad' cannot be '$value'"* ]]
    done
}

@test "days are checked for their shape and order" {
    local value
    for value in yesterday 2024-3-1 2024-03-01.. ..2024-03-01 \
        2024-03-02..2024-03-01 2024-03-01...2024-03-02 20240301; do
        run mr reduce --day "$value" x
        [ "$status" -eq 2 ]
        [[ $output == *"'--day' cannot be '$value'"* ]]
    done
}

@test "a format is one of those that the command knows" {
    refused "reduce: '--format' cannot be 'xml': it must be one of table|csv|json; see 'mr reduce --help'" \
        reduce --format xml x
    refused "inspect: '--format' cannot be 'csv': it must be one of table|json; see 'mr inspect --help'" \
        inspect --format csv x
}

@test "a value that is missing, empty or unwanted is refused" {
    refused "map: '--output' wants a value: DIR|FILE.mrs; see 'mr map --help'" \
        map x -o
    refused "map: '--spec' cannot be '': it must be NAME|FILE; see 'mr map --help'" \
        map --spec= x
    refused "map: '--output' cannot be '-': it must be DIR|FILE.mrs; of that name it is './-'; see 'mr map --help'" \
        map -o - x
    refused "rows: '--output' cannot be '-': it must be FILE; of that name it is './-'; see 'mr rows --help'" \
        rows -o - x
    [ ! -e - ]
    refused "map: '--quiet' takes no value; see 'mr map --help'" \
        map --quiet=yes x
}

@test "a command without operands is refused" {
    refused "map: nothing to work on: INPUT...; see 'mr map --help'" map -q
    refused "reduce: nothing to work on: STATE|DIR...; see 'mr reduce --help'" \
        reduce --format csv
}

@test "an operand that is empty is refused as such, wherever it stands" {
    local said="an operand is empty, as that of a shell's variable that is not set: give"
    refused "map: $said INPUT...; see 'mr map --help'" map ''
    refused "reduce: $said STATE|DIR...; see 'mr reduce --help'" reduce x ''
    refused "plan: $said INPUT...; see 'mr plan --help'" plan -- ''
    refused "inspect: $said STATE|DIR...; see 'mr inspect --help'" inspect '' x
}

@test "help is data, and the same by all its names" {
    local verb
    for verb in map reduce inspect; do
        mr help "$verb" >a
        mr "$verb" --help >b
        mr -h "$verb" >c
        cmp a b && cmp a c
        head -1 a | grep -q "^usage: mr $verb "
        [ -z "$(mr "$verb" -h 2>&1 >/dev/null)" ]
    done
    mr --help >a
    mr help >b
    cmp a b
    run mr --version
    [ "$status" -eq 0 ]
    [[ $output =~ ^mr\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "help fits a terminal of 80 columns" {
    local verb
    for verb in '' map reduce inspect; do
        [ "$(mr help $verb | awk 'length($0) > 79' | wc -l)" -eq 0 ]
    done
}

@test "every option that the help lists is understood" {
    local verb option
    for verb in map reduce inspect; do
        for option in $(mr help "$verb" | grep -oE '^ .{5}--[a-z-]+ [A-Z|a-z]+' |
            grep -oE '[-][-][a-z-]+'); do
            run mr "$verb" x "$option"
            # Flags would go on to look for x.
            [[ $output == *"'$option' wants a value"* ]] ||
                [[ $option == --quiet || $option == --help || $option == --version ]]
        done
    done
}

@test "options and operands stand in any order, and -- ends options" {
    small_lake lake
    mr map lake -qj 2 --output=a.mrs
    mr -q map -oa2.mrs --threads=1 -- lake
    cmp a.mrs a2.mrs
    cp -r lake ./-q
    mr map -q -o b.mrs -- -q
    cmp a.mrs b.mrs
    # Of an option that is given twice the last counts.
    mr map -q -o c.mrs -o d.mrs lake
    [ ! -e c.mrs ] && [ -e d.mrs ]
}
