-- A secret that replaces another during an overlap has a number of its own, so that tokens and connections of the one that was thrown away
-- end. The previous secret's number is then no longer the one before the present secret's.
set local lock_timeout = '2s';

alter table api_key
    -- The number of the secret that replaced another, and the number of the previous secret beside it. They count only while the former is
    -- the present secret's: the version before rolls without writing them.
    add column replaced_number integer,
    add column previous_number integer;

alter table api_key
    add constraint api_key_replaced_number_check check ((replaced_number is null) = (previous_number is null)) not valid;
