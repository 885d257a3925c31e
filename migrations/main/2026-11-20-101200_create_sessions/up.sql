-- Exactly these three columns, and no tenant: session stores of other languages work on them, connect-pg-simple
-- of Node among them (https://github.com/voxpelli/node-connect-pg-simple/blob/main/table.sql). So there is
-- no row-level security either: who may read sessions is said by the grants alone.
CREATE TABLE sessions (
    sid varchar NOT NULL,
    sess jsonb NOT NULL
        CONSTRAINT sessions_sess_json CHECK (json_is_readable(sess)),
    expire timestamp(6) NOT NULL
        CONSTRAINT sessions_expire_time CHECK (expire BETWEEN '0001-01-01' AND '9999-12-31'),
    CONSTRAINT sessions_pkey PRIMARY KEY (sid)
);
CREATE INDEX sessions_expire_idx ON sessions (expire);
COMMENT ON INDEX sessions_expire_idx IS 'Sessions that are over, for the prune.';
CREATE INDEX sessions_user_idx ON sessions ((sess ->> 'tenant_id'), (sess ->> 'user_id'));
COMMENT ON INDEX sessions_user_idx IS 'Sessions of a user, to revoke them all.';

COMMENT ON TABLE sessions IS 'Sessions of browsers. Shaped as the session stores of other languages expect it.';
COMMENT ON COLUMN sessions.sid IS 'The session''s id, a secret: who has it has the session.';
COMMENT ON COLUMN sessions.sess IS 'What the session holds, an object; user_id and tenant_id, where there are, say whose it is.';
COMMENT ON COLUMN sessions.expire IS 'From then on it is over, in UTC.';

GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO bedplate_session;

-- A timestamp without zone means another moment in another zone, and ALTER ROLE … SET does not follow SET
-- ROLE: so the zone is pinned for the logins, in this database. A login that this one may not alter is left
-- as it is: `bedplate doctor` tells.
DO $zone$
DECLARE
    login text;
BEGIN
    FOR login IN SELECT rolname FROM pg_roles AS r
                  WHERE rolname IN ('bedplate_login', current_user)
                    AND NOT EXISTS (SELECT FROM pg_db_role_setting
                                     WHERE setrole = r.oid AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                                       AND EXISTS (SELECT FROM unnest(setconfig) AS s WHERE s ILIKE 'timezone=utc'))
    LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET TimeZone = %L', login, current_database(), 'UTC');
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'the time zone of % is not pinned: %', login, SQLERRM;
        END;
    END LOOP;
END
$zone$;
