DROP TABLE price_ticks;
DROP FUNCTION drop_price_tick_partitions(date);
DROP FUNCTION create_price_tick_partition(date);
