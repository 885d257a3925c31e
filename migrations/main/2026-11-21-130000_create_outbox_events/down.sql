DROP TABLE outbox_stopped_endpoints;
DROP TABLE outbox_events;
