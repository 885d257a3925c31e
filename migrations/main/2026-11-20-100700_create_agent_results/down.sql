DROP FUNCTION search_agent_results(text, jsonb);
DROP TABLE agent_results;
