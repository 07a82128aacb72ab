-- The peppers of the marks of bcrypt hashes: a step in the index for each, because there are few of them and many keys.
with recursive peppers as (
    (
        select import_mark_pepper
        from api_key
        where import_mark_pepper is not null
        order by import_mark_pepper
        limit 1
    )
    union all
    select (
        select next.import_mark_pepper
        from api_key as next
        where next.import_mark_pepper > peppers.import_mark_pepper
        order by next.import_mark_pepper
        limit 1
    )
    from peppers
    where peppers.import_mark_pepper is not null
)
select import_mark_pepper as "pepper!" from peppers where import_mark_pepper is not null
