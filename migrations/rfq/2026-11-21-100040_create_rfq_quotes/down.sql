DROP TABLE rfq_quotes;
