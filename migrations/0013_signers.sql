-- Those who sign requests are resources of the gateway document, too.
set local lock_timeout = '2s';

alter table gateway_resource drop constraint gateway_resource_kind_check;
alter table gateway_resource
    add constraint gateway_resource_kind_check check (
        kind in ('region', 'domain', 'issuer', 'certificate_authority', 'signer', 'upstream', 'api', 'route')
    );
