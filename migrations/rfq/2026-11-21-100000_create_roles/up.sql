-- Roles belong to the cluster: these are those of the database main, whose migrations may make them at this
-- moment. Only what is missing is created, and what a neighbour did first counts as done. `down.sql` leaves them.
--
-- The owner (the login that runs this) becomes a member of the roles that it has to act as. It is
-- no member of bedplate_definer: that role's policies are USING (true), and a member would see
-- every tenant's rows.
DO $roles$
DECLARE
    wanted record;
    attempt int;
BEGIN
    FOR wanted IN
        SELECT 'CREATE ROLE ' || name || ' NOLOGIN NOINHERIT' AS statement, name AS role, NULL AS member
          FROM unnest(ARRAY['bedplate_app', 'bedplate_system', 'bedplate_session', 'bedplate_definer']) AS name
        UNION ALL
        SELECT format('GRANT %I TO %I', name, member), name, member
          FROM unnest(ARRAY['bedplate_app', 'bedplate_system', 'bedplate_session']) AS name,
               -- bedplate_login is made by whoever makes the database: it has a password.
               (SELECT rolname AS member FROM pg_roles
                 WHERE rolname = 'bedplate_login' OR (rolname = current_user AND NOT rolsuper)) AS members
    LOOP
        FOR attempt IN 1..50 LOOP
            BEGIN
                IF wanted.member IS NULL THEN
                    EXIT WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.role);
                ELSE
                    -- From PostgreSQL 16 on, the creator of a role is its member without SET: that is
                    -- not enough to become it. Read through jsonb, for 15 has no such column.
                    EXIT WHEN EXISTS (
                        SELECT FROM pg_auth_members AS m
                         WHERE m.roleid = (SELECT oid FROM pg_roles WHERE rolname = wanted.role)
                           AND m.member = (SELECT oid FROM pg_roles WHERE rolname = wanted.member)
                           AND coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'true');
                END IF;
                EXECUTE wanted.statement;
                EXIT;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- made by a neighbour: look again
                WHEN internal_error THEN
                    IF attempt = 50 OR SQLERRM <> 'tuple concurrently updated' THEN
                        RAISE;
                    END IF;
                    PERFORM pg_sleep(random() * 0.05);
            END;
        END LOOP;
    END LOOP;
END
$roles$;

GRANT USAGE ON SCHEMA public TO bedplate_app, bedplate_system, bedplate_definer;

-- Also where an administrator has taken CONNECT from PUBLIC.
DO $connect$
BEGIN
    IF to_regrole('bedplate_login') IS NOT NULL THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO bedplate_login', current_database());
    END IF;
END
$connect$;
