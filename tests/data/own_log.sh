#!/bin/sh
# From logs to reports: three roads in exact commands, and the same three from worse files. `apprentice` is on the PATH.
#
#     own_log.sh RATINGS CHOICES BOOKS PLAYS GAMES
#
# RATINGS holds ratings with times (a file, or MovieLens' folder), CHOICES what people took, with its catalogue BOOKS, and PLAYS minutes of
# play, with its catalogue GAMES. Reports lie in artifacts/NAME/report/page-as-run.html.
set -eu

road() { # NAME LOG [CATALOGUE]
    apprentice init "$1.yaml" --log "$2" ${3:+--items "$3"}
    cp "$1.yaml" "$1.written"
    # The two lines that are changed: less training than is written.
    sed -e 's/n_iterations: [0-9]*, episodes_per_update: 32/n_iterations: 5, episodes_per_update: 32/' \
        -e 's/seeds: 1, n_iterations: [0-9]*/seeds: 1, n_iterations: 5/' "$1.written" > "$1.yaml"
    diff "$1.written" "$1.yaml" || true
    apprentice plan "$1.yaml"
    apprentice run "$1.yaml"
    test -s "artifacts/$1/report/page-as-run.html"
}

# One row of a hundred is torn, one of fifty comes twice, and all is packed.
worse() { # LOG COPY
    awk 'NR % 100 == 50 { print "torn" } NR % 50 == 9 { print } { print }' "$1" | gzip > "$2"
}

road ratings "$1"
road choices "$2" "$3"
road plays "$4" "$5"

ratings=$1
for file in "$1"/*.inter "$1"/ratings.*; do
    [ ! -f "$file" ] || ratings=$file
done
worse "$ratings" "worse-$(basename "$ratings").gz"
worse "$2" worse-choices.csv.gz
worse "$4" worse-plays.csv.gz
road worse-ratings "worse-$(basename "$ratings").gz"
road worse-choices worse-choices.csv.gz "$3"
road worse-plays worse-plays.csv.gz "$5"
