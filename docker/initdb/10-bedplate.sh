#!/usr/bin/env bash
# Runs once, when the volume is empty: makes the owner, the application's login and the databases. May be run again,
# in a volume of an earlier version: what is there stays. `bedplate up` does the same for its private server.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres \
    -v owner_password="$OWNER_PASSWORD" -v login_password="$LOGIN_PASSWORD" <<'SQL'
-- The owner makes the group roles in its first migration (CREATEROLE). It is no superuser.
SELECT format('CREATE ROLE bedplate_owner LOGIN CREATEROLE PASSWORD %L', :'owner_password')
 WHERE to_regrole('bedplate_owner') IS NULL \gexec
-- NOINHERIT: before SET ROLE the application's login can do nothing.
SELECT format('CREATE ROLE bedplate_login LOGIN NOINHERIT PASSWORD %L', :'login_password')
 WHERE to_regrole('bedplate_login') IS NULL \gexec
-- Sessions are kept in a timestamp without zone, by clients of several languages.
ALTER ROLE bedplate_owner SET TimeZone = 'UTC';
ALTER ROLE bedplate_login SET TimeZone = 'UTC';
SELECT format('CREATE DATABASE %I OWNER bedplate_owner', name)
  FROM unnest(ARRAY['bedplate', 'bedplate_rfq', 'bedplate_marketdata']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
-- Errors are told apart by their English message.
ALTER DATABASE bedplate SET lc_messages = 'C';
ALTER DATABASE bedplate_rfq SET lc_messages = 'C';
ALTER DATABASE bedplate_marketdata SET lc_messages = 'C';
SQL
