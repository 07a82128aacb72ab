copy audit_event (
    node, incarnation, seq, day, at, event_id, phase, class, salt, event, tenant, consumer, application, key_id, route,
    method, status, decision, outcome, reason, request_id, region, actor, action
) from stdin with (format binary)
