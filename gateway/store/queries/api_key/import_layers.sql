-- The layers of peppers that imported keys are under: a step in the index for each, because there are few of them and many keys.
with recursive layers as (
    (
        select import_peppers
        from api_key
        where import_peppers is not null
        order by import_peppers
        limit 1
    )
    union all
    select (
        select next.import_peppers
        from api_key as next
        where next.import_peppers > layers.import_peppers
        order by next.import_peppers
        limit 1
    )
    from layers
    where layers.import_peppers is not null
)
select import_peppers as "peppers!" from layers where import_peppers is not null
