DROP TABLE sessions;
DROP FUNCTION skip_revoked_session();
DROP FUNCTION remember_revoked_session();
DROP TABLE __bedplate_revoked_sessions;
