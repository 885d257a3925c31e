DROP TABLE outbox_events;
DROP FUNCTION json_is_readable(jsonb);
