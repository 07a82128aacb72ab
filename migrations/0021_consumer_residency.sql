-- Where the data of a consumer may lie: labels of regions, one of which a region must have. Null where any may; a list is never empty,
-- because no region has one of no labels. The version before leaves the column alone, and its nodes go by no label: labels are given once no
-- node of it is left.
set local lock_timeout = '2s';

alter table consumer
    add column residency text[] collate "C",
    -- As text, because a check cannot look at each element: what is no label is in quotes, braces or capital letters there. The word `null` is
    -- a label, and in quotes.
    add constraint consumer_residency_check check (
        array_ndims(residency) = 1
        and cardinality(residency) between 1 and 32
        and residency::text ~ '^\{("null"|[a-z0-9][a-z0-9_-]{0,62})(,("null"|[a-z0-9][a-z0-9_-]{0,62}))*\}$'
    );
