-- Instruments of every asset class. Futures are named by product, a bond by its ISIN.
INSERT INTO instruments (symbol, name, asset_class, currency, tick_size, lot_size, venue_code, status) VALUES
    ('AAPL', 'Apple Inc.', 'equity', 'USD', 0.01, 1, 'XNAS', 'active'),
    ('MSFT', 'Microsoft Corporation', 'equity', 'USD', 0.01, 1, 'XNAS', 'active'),
    ('NVDA', 'NVIDIA Corporation', 'equity', 'USD', 0.01, 1, 'XNAS', 'active'),
    ('JPM', 'JPMorgan Chase & Co.', 'equity', 'USD', 0.01, 1, 'XNYS', 'active'),
    ('KO', 'The Coca-Cola Company', 'equity', 'USD', 0.01, 1, 'XNYS', 'active'),
    ('SAP', 'SAP SE', 'equity', 'EUR', 0.02, 1, 'XETR', 'active'),
    ('SIE', 'Siemens AG', 'equity', 'EUR', 0.02, 1, 'XETR', 'active'),
    ('SHEL', 'Shell plc', 'equity', 'GBP', 0.005, 1, 'XLON', 'active'),
    ('AZN', 'AstraZeneca PLC', 'equity', 'GBP', 0.01, 1, 'XLON', 'active'),
    ('7203', 'Toyota Motor Corporation', 'equity', 'JPY', 0.5, 100, 'XTKS', 'active'),
    ('EUR/USD', 'Euro in US dollars, spot', 'fx', 'USD', 0.00001, 1000, '360T', 'active'),
    ('GBP/USD', 'Pound sterling in US dollars, spot', 'fx', 'USD', 0.00001, 1000, '360T', 'active'),
    ('USD/JPY', 'US dollar in yen, spot', 'fx', 'JPY', 0.001, 1000, '360T', 'active'),
    ('EUR/CHF', 'Euro in Swiss francs, spot', 'fx', 'CHF', 0.00001, 1000, '360T', 'active'),
    ('US912810TM09', 'US Treasury 4 % 15 November 2042', 'bond', 'USD', 0.015625, 1000, 'BTEC', 'active'),
    ('US91282CGM73', 'US Treasury 3.5 % 15 February 2033', 'bond', 'USD', 0.015625, 1000, 'BTEC', 'active'),
    ('CL', 'WTI crude oil future', 'commodity', 'USD', 0.01, 1, 'XNYM', 'active'),
    ('NG', 'Henry Hub natural gas future', 'commodity', 'USD', 0.001, 1, 'XNYM', 'active'),
    ('GC', 'Gold future', 'commodity', 'USD', 0.1, 1, 'XCEC', 'active'),
    ('HG', 'Copper future', 'commodity', 'USD', 0.0005, 1, 'XCEC', 'active'),
    ('BTC', 'Bitcoin future', 'crypto', 'USD', 5, 1, 'XCME', 'active'),
    ('MBT', 'Micro bitcoin future', 'crypto', 'USD', 5, 1, 'XCME', 'active')
ON CONFLICT (symbol) DO UPDATE SET
    name = excluded.name, asset_class = excluded.asset_class, currency = excluded.currency,
    tick_size = excluded.tick_size, lot_size = excluded.lot_size, venue_code = excluded.venue_code,
    status = excluded.status;
