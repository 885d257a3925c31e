-- The roles stay: they belong to the cluster, and other databases use them.
REVOKE USAGE ON SCHEMA public FROM bedplate_app, bedplate_system, bedplate_session, bedplate_definer;
