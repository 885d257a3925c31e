DROP TRIGGER delete_events ON tenants;
DROP FUNCTION delete_events_of_tenant();
DROP TABLE event_subscriptions;
