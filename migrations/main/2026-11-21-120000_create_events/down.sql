DROP TABLE event_tags;
DROP TABLE events;
DROP FUNCTION refuse_change_of_events();
DROP FUNCTION event_tag_hash(text);
