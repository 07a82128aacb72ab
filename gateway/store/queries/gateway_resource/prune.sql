delete from gateway_resource as current
where
    managed_by = 'file'
    and not exists (
        select 1
        from jsonb_to_recordset($1) as wanted (kind text, name text)
        where wanted.kind = current.kind and wanted.name = current.name
    )
returning kind, name
