-- Exactly these three columns, and no tenant: session stores of other languages work on them, connect-pg-simple
-- of Node among them (https://github.com/voxpelli/node-connect-pg-simple/blob/main/table.sql). So there is
-- no row-level security either: who may read sessions is said by the grants alone.
CREATE TABLE sessions (
    sid varchar NOT NULL,
    sess jsonb NOT NULL
        CONSTRAINT sessions_sess_json CHECK (json_is_readable(sess)),
    expire timestamp(6) NOT NULL
        CONSTRAINT sessions_expire_time CHECK (expire BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'),
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

-- The stores of other languages save with INSERT … ON CONFLICT: a request that loaded a session before it was revoked
-- would bring it back at its end. So ids that are gone are remembered for a while, as hashes, and their rows are not
-- written. No error: the client of a late request would get it for what somebody else did.
CREATE TABLE __bedplate_revoked_sessions (
    sid_hash bytea NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT __bedplate_revoked_sessions_pkey PRIMARY KEY (sid_hash)
);
CREATE INDEX __bedplate_revoked_sessions_revoked_at_idx ON __bedplate_revoked_sessions (revoked_at);
COMMENT ON INDEX __bedplate_revoked_sessions_pkey IS 'Whether a session was revoked.';
COMMENT ON INDEX __bedplate_revoked_sessions_revoked_at_idx IS 'Old entries, for the prune.';
COMMENT ON TABLE __bedplate_revoked_sessions IS 'Sessions that were deleted, or got another id, before they were over or within an hour afterwards.';
COMMENT ON COLUMN __bedplate_revoked_sessions.sid_hash IS 'SHA-256 of the session''s id.';
COMMENT ON COLUMN __bedplate_revoked_sessions.revoked_at IS 'When; bedplate maintain forgets it some days later.';
GRANT SELECT, INSERT, DELETE ON __bedplate_revoked_sessions TO bedplate_session;

-- A request that loaded a session while it was good may save it a while after it was over: so sessions that were over
-- for up to an hour are remembered too.
CREATE FUNCTION remember_revoked_session() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO public.__bedplate_revoked_sessions (sid_hash)
        SELECT sha256(convert_to(sid, 'UTF8')) FROM public.sessions WHERE expire > (now() - interval '1 hour') AT TIME ZONE 'UTC'
            ON CONFLICT DO NOTHING;
    ELSIF OLD.expire > (now() - interval '1 hour') AT TIME ZONE 'UTC' AND (TG_OP = 'DELETE' OR NEW.sid <> OLD.sid) THEN
        INSERT INTO public.__bedplate_revoked_sessions (sid_hash) VALUES (sha256(convert_to(OLD.sid, 'UTF8')))
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION remember_revoked_session() IS 'Trigger: remembers the id of a session that ends before its time.';
REVOKE EXECUTE ON FUNCTION remember_revoked_session() FROM PUBLIC;
CREATE TRIGGER remember_revoked AFTER DELETE OR UPDATE OF sid ON sessions
    FOR EACH ROW EXECUTE FUNCTION remember_revoked_session();
COMMENT ON TRIGGER remember_revoked ON sessions IS 'A session that ends before its time does not begin again.';
CREATE TRIGGER remember_truncated BEFORE TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION remember_revoked_session();
COMMENT ON TRIGGER remember_truncated ON sessions IS 'As remember_revoked, of all sessions.';

CREATE FUNCTION skip_revoked_session() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.__bedplate_revoked_sessions WHERE sid_hash = sha256(convert_to(NEW.sid, 'UTF8'))) THEN
        RETURN NEW;
    END IF;
    IF TG_WHEN = 'AFTER' THEN
        -- Revoked since the trigger before: ON CONFLICT waited for the transaction that deleted it, and inserted then.
        DELETE FROM public.sessions WHERE sid = NEW.sid;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION skip_revoked_session() IS 'Trigger: no row is written for a session that was revoked.';
REVOKE EXECUTE ON FUNCTION skip_revoked_session() FROM PUBLIC;
CREATE TRIGGER skip_revoked BEFORE INSERT OR UPDATE OF sid ON sessions
    FOR EACH ROW EXECUTE FUNCTION skip_revoked_session();
COMMENT ON TRIGGER skip_revoked ON sessions IS 'A revoked session is not written again.';
CREATE TRIGGER skip_revoked_meanwhile AFTER INSERT OR UPDATE OF sid ON sessions
    FOR EACH ROW EXECUTE FUNCTION skip_revoked_session();
COMMENT ON TRIGGER skip_revoked_meanwhile ON sessions IS 'As skip_revoked, for one that is revoked while it is written.';

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
