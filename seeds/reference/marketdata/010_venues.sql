-- Venues by their market identifier code (ISO 10383).
INSERT INTO venues (code, name, country, timezone, status) VALUES
    ('XNYS', 'New York Stock Exchange', 'US', 'America/New_York', 'active'),
    ('XNAS', 'Nasdaq', 'US', 'America/New_York', 'active'),
    ('XCME', 'Chicago Mercantile Exchange', 'US', 'America/Chicago', 'active'),
    ('XNYM', 'New York Mercantile Exchange', 'US', 'America/New_York', 'active'),
    ('XCEC', 'Commodities Exchange Center (COMEX)', 'US', 'America/New_York', 'active'),
    ('XLON', 'London Stock Exchange', 'GB', 'Europe/London', 'active'),
    ('XETR', 'Xetra', 'DE', 'Europe/Berlin', 'active'),
    ('XTKS', 'Tokyo Stock Exchange', 'JP', 'Asia/Tokyo', 'active'),
    ('BTEC', 'BrokerTec (US Treasuries)', 'US', 'America/New_York', 'active'),
    ('360T', '360T', 'DE', 'Europe/Berlin', 'active')
ON CONFLICT (code) DO UPDATE SET
    name = excluded.name, country = excluded.country, timezone = excluded.timezone, status = excluded.status;
