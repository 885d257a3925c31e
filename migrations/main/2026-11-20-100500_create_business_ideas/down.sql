DROP FUNCTION search_business_ideas(text);
DROP TABLE business_ideas;
DROP FUNCTION refuse_edit_of_submitted_idea();
DROP FUNCTION increment_lock_version();
