DROP TABLE audit_log;
DROP FUNCTION drop_audit_partitions(date);
DROP FUNCTION create_audit_partition(date);
DROP FUNCTION close_audit_partition(regclass, text);
DROP FUNCTION make_append_only(regclass);
DROP FUNCTION refuse_change_of_audit_log();
