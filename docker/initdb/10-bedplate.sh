#!/usr/bin/env bash
# Runs once, when the volume is empty: makes the owner, the application's login, their group roles and the
# database. `bedplate up` does the same for its private server.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres \
    -v owner_password="$OWNER_PASSWORD" -v login_password="$LOGIN_PASSWORD" <<'SQL'
-- The owner makes the group roles in its first migration (CREATEROLE). It is no superuser.
CREATE ROLE bedplate_owner LOGIN CREATEROLE PASSWORD :'owner_password';
-- NOINHERIT: before SET ROLE the application's login can do nothing.
CREATE ROLE bedplate_login LOGIN NOINHERIT PASSWORD :'login_password';
-- Sessions are kept in a timestamp without zone, by clients of several languages.
ALTER ROLE bedplate_owner SET TimeZone = 'UTC';
ALTER ROLE bedplate_login SET TimeZone = 'UTC';
CREATE DATABASE bedplate OWNER bedplate_owner;
-- Errors are told apart by their English message.
ALTER DATABASE bedplate SET lc_messages = 'C';
SQL
