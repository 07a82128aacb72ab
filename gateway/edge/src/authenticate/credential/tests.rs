use model::structure::identity::TokenRule;

use super::*;

const KEY: (&str, &str) = ("x-api-key", "cw_live_abc");
const BEARER_KEY: (&str, &str) = ("authorization", "Bearer cw_live_abc");
const TOKEN: (&str, &str) = ("authorization", "bearer eyJ.e30.sig");

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn way(key: bool, token: bool) -> Way {
    Way { key, token: token.then(Box::<[TokenRule]>::default), is_token_first: false }
}

/// Which way is chosen, or the kind of the refusal.
fn chosen(ways: &[Way], fields: &[(&'static str, &str)]) -> Result<usize, ProblemKind> {
    let headers = headers(fields);
    let way = Credentials::read(&headers).and_then(|credentials| credentials.choose(ways)).map_err(|denial| denial.kind)?;
    Ok(ways.iter().position(|other| std::ptr::eq(other, way)).unwrap())
}

#[test]
fn the_kinds_of_credentials_choose_the_way() {
    use ProblemKind::{CredentialsInvalid as Invalid, CredentialsMissing as Missing};
    let (any, both, token) = ([way(true, false), way(false, true)], [way(true, true)], [way(false, true)]);
    let all = [way(true, false), way(false, true), way(true, true)];
    for (ways, fields, expected) in [
        (&any[..], &[KEY][..], Ok(0)),
        (&any, &[BEARER_KEY], Ok(0)),
        (&any, &[TOKEN], Ok(1)),
        (&any, &[], Err(Missing)),
        (&any, &[KEY, TOKEN], Err(Invalid)),
        (&any, &[KEY, BEARER_KEY], Err(Invalid)),
        (&both, &[KEY, TOKEN], Ok(0)),
        (&both, &[KEY], Err(Missing)),
        (&both, &[BEARER_KEY], Err(Missing)),
        (&both, &[TOKEN], Err(Missing)),
        (&both, &[], Err(Missing)),
        (&both, &[TOKEN, BEARER_KEY], Err(Invalid)),
        (&both, &[BEARER_KEY, TOKEN], Err(Invalid)),
        (&token, &[TOKEN], Ok(0)),
        (&token, &[KEY], Err(Invalid)),
        (&token, &[KEY, TOKEN], Err(Invalid)),
        (&token, &[TOKEN, TOKEN], Err(Invalid)),
        (&token, &[("authorization", "Basic YTpi")], Err(Invalid)),
        (&token, &[("authorization", "DPoP eyJ.e30.sig")], Err(Invalid)),
        (&token, &[("authorization", "eyJ.e30.sig")], Err(Invalid)),
        (&token, &[("authorization", "")], Err(Invalid)),
        (&all, &[KEY, TOKEN], Ok(2)),
        (&all, &[KEY, KEY], Err(Invalid)),
    ] {
        assert_eq!(chosen(ways, fields), expected, "{fields:?}");
    }
}

#[test]
fn what_is_missing_is_told_in_words_that_help() {
    let said = |ways: &[Way], fields: &[(&'static str, &str)]| {
        let headers = headers(fields);
        Credentials::read(&headers).unwrap().choose(ways).map(drop).unwrap_err().detail.into_owned()
    };
    let (any, both) = ([way(true, false), way(false, true)], [way(true, true)]);

    assert!(said(&both, &[TOKEN]).contains("send an API key in X-Api-Key, too"));
    assert!(said(&both, &[KEY]).contains("send a token as Authorization: Bearer, too"));
    assert!(said(&both, &[]).contains("an API key in X-Api-Key, and a token"));
    assert!(said(&any, &[]).contains("one of the credentials"));
    assert!(said(&[way(false, true)], &[]).contains("send a token"));
    assert!(said(&[way(true, false)], &[]).contains("send an API key"));
}
