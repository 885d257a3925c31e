-- The roles stay: they belong to the cluster, and other databases use them.
DO $connect$
BEGIN
    IF to_regrole('bedplate_login') IS NOT NULL THEN
        EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM bedplate_login', current_database());
    END IF;
END
$connect$;
REVOKE USAGE ON SCHEMA public FROM bedplate_app, bedplate_system, bedplate_definer;
