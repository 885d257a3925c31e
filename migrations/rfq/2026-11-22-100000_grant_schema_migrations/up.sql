-- Whether migrations are pending is asked for readiness, by the application's login: names, no data.
GRANT SELECT ON __diesel_schema_migrations TO bedplate_system;
