//! By what a caller is known, as records have it.

use crate::authenticate::Principal;

/// The words of every proof, in one order. The store counts those that begin with `api_key_old`: a secret that has been replaced.
const WORDS: [[&str; 8]; 3] = [
    ["api_key", "signature", "mtls", "mtls signature", "jwt", "jwt signature", "jwt mtls", "jwt mtls signature"],
    [
        "api_key",
        "api_key signature",
        "api_key mtls",
        "api_key mtls signature",
        "api_key jwt",
        "api_key jwt signature",
        "api_key jwt mtls",
        "api_key jwt mtls signature",
    ],
    [
        "api_key_old",
        "api_key_old signature",
        "api_key_old mtls",
        "api_key_old mtls signature",
        "api_key_old jwt",
        "api_key_old jwt signature",
        "api_key_old jwt mtls",
        "api_key_old jwt mtls signature",
    ],
];

/// The words for a caller.
pub(super) fn of(principal: &Principal) -> &'static str {
    let key = principal.key().map_or(0, |_| if principal.used_old_secret() { 2 } else { 1 });
    let others = [principal.token().is_some(), principal.certified().is_some(), principal.signed().is_some()];
    let place = others.iter().fold(0, |place, is_there| place << 1 | usize::from(*is_there));
    let is_lent = principal.key().is_some_and(|proof| proof.lent.is_some());
    if is_lent && key == 1 && place == 0 {
        return "api_key_token";
    }
    WORDS.get(key).and_then(|words| words.get(place)).copied().unwrap_or("api_key")
}
