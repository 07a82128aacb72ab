use super::*;

#[test]
fn an_id_prints_and_parses_back_with_its_prefix() {
    let id = TenantId::new(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));

    assert_eq!(id.to_string(), "ten_01980000000070008000000000000001");
    assert_eq!(id.to_string().parse::<TenantId>(), Ok(id));
}

#[test]
fn an_id_of_another_kind_is_refused() {
    for text in ["con_01980000000070008000000000000001", "ten_0198", "", "ten_zz980000000070008000000000000001"] {
        assert!(text.parse::<TenantId>().is_err(), "{text}");
    }
}
