# What backup, restore and rehearse-restore share; sourced by them, not run by itself.

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
export LC_ALL=C
umask 077
me=${0##*/}
children=()

# fail CODE MESSAGE: 1 failed, 2 wrong usage, 3 refused, 4 not reachable.
fail() {
    printf '%s: %s\n' "$me" "$2" >&2
    exit "$1"
}

tell() { printf '%s: %s\n' "$me" "$1" >&2; }

# The comment at the head of the script.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p;}' "$0"; }

# What a program said on stderr (in $work/error), as one line.
said() {
    if grep -qE 'lock timeout|LOCK TABLE' "$work/error"; then printf 'a table is locked, perhaps by a migration, run it again: '; fi
    sed -E 's/^(psql|pg_dump|pg_dumpall|pg_restore|initdb|pg_ctl): //; s/^(<stdin>|psql:[^ ]*): //; s/^(error|ERROR): *//' "$work/error" |
        tr -s '\n\t ' ' ' | cut -c 1-600 | sed 's/ $//'
}

# wait_for PID [WORDS FILE]: so that a signal is answered at once; every ten seconds the file's size is told.
wait_for() {
    local tenths=0
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.1 &
        wait $! || true
        tenths=$((tenths + 1))
        if [ -n "${2:-}" ] && [ $((tenths % 100)) = 0 ]; then
            tell "$2, $((tenths / 10)) s, $(size_of "$3") so far"
        fi
    done
    wait "$1"
}

# Ends what was started in the background: SIGINT lets psql cancel its query on the server before it goes.
end_children() {
    local child
    for child in ${children[@]+"${children[@]}"}; do
        kill -INT "$child" 2>/dev/null || true
    done
    for child in ${children[@]+"${children[@]}"}; do
        if kill -0 "$child" 2>/dev/null; then
            sleep 0.2
            kill -TERM "$child" 2>/dev/null || true
        fi
        wait "$child" 2>/dev/null || true
    done
    children=()
}

# Calls a function at the end, however it comes, except by SIGKILL.
at_the_end() {
    trap "$1" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

size_of() { # in bytes, KB, MB or GB
    local bytes=$1
    if [ -e "$1" ]; then bytes=$(wc -c <"$1"); fi
    awk -v b="$bytes" 'BEGIN { split("B KB MB GB TB", u); for (i = 1; b >= 1000 && i < 5; i++) b /= 1000
        printf (i == 1 || b >= 100 ? "%.0f %s" : "%.1f %s"), b, u[i] }' 2>/dev/null || true
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

# find_programs LEAST PROGRAM: sets bin to the folder of PostgreSQL's programs with the lowest version from LEAST on.
find_programs() {
    local least=$1 program=$2 folder version newest=0 best=1000 folders=("${PG_BIN:-}")
    if [ -z "${PG_BIN:-}" ]; then
        folders=(/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin
            /usr/local/opt/postgresql@*/bin "$(dirname "$(command -v "$program" || echo /none/.)")")
    fi
    bin=
    for folder in "${folders[@]}"; do
        [ -x "$folder/$program" ] && [ -x "$folder/psql" ] || continue
        version=$("$folder/$program" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
        if [ "$version" -gt "$newest" ]; then newest=$version; fi
        if [ "$version" -ge "$least" ] && [ "$version" -lt "$best" ]; then best=$version bin=$folder; fi
    done
    [ "$newest" != 0 ] ||
        fail 2 "psql and $program are not found${PG_BIN:+ in PG_BIN}: install PostgreSQL's programs, or set PG_BIN to their folder"
    [ -n "$bin" ] ||
        fail 3 "PostgreSQL $least needs $program of version $least or later, and here is version $newest: install it, or set PG_BIN to its folder"
}

# decode VARIABLE TEXT: what is percent-encoded in a URL.
decode() {
    local text=$2
    if [[ $text =~ %([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$) || $text == *%00* ]]; then
        fail 2 "the URL in $url_name has a % that is not followed by two hexadecimal digits: write %25 for a %"
    fi
    text=${text//\\/\\\\}
    printf -v "$1" '%b' "${text//%/\\x}"
    export "${1?}"
}

# use_url VARIABLE: gives the URL in it (or in the file that VARIABLE_FILE names) to PostgreSQL's programs, through their
# environment: no password is on a command line. Only what the URL says counts there, and ~/.pgpass.
use_url() {
    local url rest head query pair host file=$1_FILE
    url_name=$1
    url=${!1:-}
    if [ -z "$url" ] && [ -n "${!file:-}" ]; then
        [ -r "${!file}" ] || fail 2 "$file names a file that cannot be read"
        url=$(<"${!file}")
    fi
    [ -n "$url" ] || fail 2 "$1 is not set: it is the URL of $2"
    unset "$1"
    forget_libpq
    case $url in
    postgres://* | postgresql://*) rest=${url#*://} ;;
    *) fail 2 "$1 is no URL: it begins with postgres://" ;;
    esac
    head=${rest%%[@/]*}
    if [[ ${rest:${#head}} == @* ]]; then
        rest=${rest#*@}
        decode PGUSER "${head%%:*}"
        if [[ $head == *:* ]]; then decode PGPASSWORD "${head#*:}"; fi
    fi
    query=
    if [[ $rest == *\?* ]]; then query=${rest#*\?} rest=${rest%%\?*}; fi
    [[ $rest != *@* ]] || fail 2 "the user or the password in $1 has an @ or a / in it: write %40 and %2F"
    host=${rest%%/*}
    [[ $host != *,* ]] || fail 2 "$1 names several hosts: name the one that is meant"
    if [[ $rest == */* ]]; then decode PGDATABASE "${rest#*/}"; fi
    case $host in
    '['*']'*) if [[ $host == *]:* ]]; then decode PGPORT "${host##*:}"; fi; host=${host#'['} host=${host%%']'*} ;;
    *:*) decode PGPORT "${host##*:}"; host=${host%:*} ;;
    esac
    if [ -n "$host" ]; then decode PGHOST "$host"; fi
    while [ -n "$query" ]; do
        pair=${query%%&*}
        if [[ $query == *'&'* ]]; then query=${query#*&}; else query=; fi
        case ${pair%%=*} in
        host) decode PGHOST "${pair#*=}" ;;
        hostaddr) decode PGHOSTADDR "${pair#*=}" ;;
        port) decode PGPORT "${pair#*=}" ;;
        dbname) decode PGDATABASE "${pair#*=}" ;;
        user) decode PGUSER "${pair#*=}" ;;
        password) decode PGPASSWORD "${pair#*=}" ;;
        passfile) decode PGPASSFILE "${pair#*=}" ;;
        options) decode PGOPTIONS "${pair#*=}" ;;
        connect_timeout) decode PGCONNECT_TIMEOUT "${pair#*=}" ;;
        sslmode) decode PGSSLMODE "${pair#*=}" ;;
        sslcert) decode PGSSLCERT "${pair#*=}" ;;
        sslkey) decode PGSSLKEY "${pair#*=}" ;;
        sslrootcert) decode PGSSLROOTCERT "${pair#*=}" ;;
        sslnegotiation) decode PGSSLNEGOTIATION "${pair#*=}" ;;
        channel_binding) decode PGCHANNELBINDING "${pair#*=}" ;;
        target_session_attrs) decode PGTARGETSESSIONATTRS "${pair#*=}" ;;
        application_name | keepalives | keepalives_* | tcp_user_timeout) ;;
        pgbouncer) fail 2 "the URL in $1 leads to PgBouncer: give the server's own address, without pgbouncer" ;;
        *) fail 2 "the URL in $1 has a parameter that is not known here: ${pair%%=*}" ;;
        esac
    done
    [ -n "${PGDATABASE:-}" ] || fail 2 "the URL in $1 names no database: …:5432/$3"
    # Whatever is set for the role or the database.
    export PGOPTIONS="${PGOPTIONS:-} -c statement_timeout=0 -c default_transaction_read_only=off"
    export PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10} PGAPPNAME=$me
}

# psql on the database $PGDATABASE, with the script on stdin.
sql() { PGCLIENTENCODING=UTF8 "$bin/psql" -X -q -A -t -w -F $'\t' -v ON_ERROR_STOP=1 "$@"; }

# A name as pg_restore's --dbname takes it, whatever is in it.
conninfo() {
    local name=${1//\\/\\\\}
    printf "dbname='%s'" "${name//\'/\\\'}"
}

# What libpq says of a server that may be back later.
may_pass='Connection refused|could not translate host name|timed out|timeout expired|unreachable|No route|closed the connection unexpectedly|reset by peer'
may_pass+='|PGSQL\.[0-9]+" failed: No such file|the database system is|too many|remaining connection slots|terminating connection'
may_pass+='|is not in hot standby|is in hot standby|session is (not )?read-only'

# reach: who we are, and on which server: sets server, server_name, superuser, sees_all and role.
reach() {
    local facts code=0
    facts=$(sql 2>"$work/error" <<'SQL'
SELECT current_setting('server_version_num'), current_setting('server_version'), rolsuper, rolsuper OR rolbypassrls, rolname
FROM pg_roles WHERE rolname = current_user
SQL
    ) || code=$?
    if [ "$code" != 0 ]; then
        # The rest is refused by the server, or cannot work: a password, a certificate, an option of the URL.
        if grep -qE "$may_pass" "$work/error"; then fail 4 "the server of $url_name cannot be reached: $(said)"; fi
        fail 1 "the server of $url_name refuses the connection: $(said)"
    fi
    IFS=$'\t' read -r server server_name superuser sees_all role <<<"$facts"
}

# Settings under which a row has one text, wherever it is read; nothing cancels it but a lock that is waited for.
pinned_settings() {
    cat <<'SQL'
SET client_min_messages = warning;
SET search_path = pg_catalog;
SET DateStyle = 'ISO, YMD';
SET TimeZone = 'UTC';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = 3;
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SET lc_numeric = 'C';
SET lc_time = 'C';
SET quote_all_identifiers = off;
SET row_security = off;
SET synchronize_seqscans = off;
SET jit = off;
SET lock_timeout = '5s';
DO $$ BEGIN
    PERFORM set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout');
END $$;
SQL
}

# What is in a dump and of no extension.
relations="pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
AND n.nspname <> 'information_schema' AND NOT EXISTS (
SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
# Tables with rows of their own: partitions too, but not what they are partitions of.
tables="$relations AND c.relkind = 'r'"

# The last value of each sequence of the database with the key $1, to the file $2. Read from the sequence itself:
# pg_sequence_last_value() would lock it.
sequences_sql() {
    cat <<SQL
\o $2
SELECT format('COPY (SELECT ''sequence'', ''$1'', %L, %L, CASE WHEN is_called THEN last_value END, %s, %L FROM %I.%I) TO STDOUT',
    n.nspname, c.relname, sign(s.seqincrement), s.seqcycle, n.nspname, c.relname)
FROM $relations JOIN pg_sequence s ON s.seqrelid = c.oid ORDER BY n.nspname, c.relname \gexec
\o
SQL
}

# Rows of each table, and the sum over the first 64 bits of the MD5 of each row's text, whatever their order. A pass a table.
rows_sql() {
    cat <<SQL
\o $2
SELECT format('COPY (SELECT ''table'', ''$1'', %L, %L, count(*),
    coalesce(sum((''x'' || left(md5((one_row.*)::text), 16))::bit(64)::bigint), 0) FROM ONLY %I.%I AS one_row) TO STDOUT',
    n.nspname, c.relname, n.nspname, c.relname)
FROM $tables ORDER BY n.nspname, c.relname \gexec
\o
SQL
}
