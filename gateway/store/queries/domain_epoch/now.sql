-- The number of an epoch follows the time.
select clock_timestamp() as "now!"
