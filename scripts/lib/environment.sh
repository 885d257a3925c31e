# Sourced by the scripts before they do anything, by sh and by bash: whatever is set for psql, pg_dump or a server of
# somebody else does not steer them. PG_BIN and PGBOUNCER_PORT are bedplate's own.

# forget_libpq: unsets what libpq and PostgreSQL's programs read, as PGHOST, PGOPTIONS, PGDATA and PG_COLOR.
forget_libpq() {
    for variable in $(env | sed -n 's/^\(PG[A-Z_]*\)=.*/\1/p'); do
        case $variable in
        PG_BIN | PGBOUNCER_*) ;;
        *) unset "$variable" ;;
        esac
    done
    unset variable
}
forget_libpq
