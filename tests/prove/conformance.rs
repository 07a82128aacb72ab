//! `conformance`: the gateway keeps the rules of HTTP/1.1, HTTP/2 and HPACK, each tried byte by byte.

use anyhow::Result;
use harness::conformance::target::Target;
use harness::conformance::{self, Found, Outcome, service};

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::ground::{self, Ground, Service};

/// Rules that the stack below the gateway leaves no way to keep, by section and text; docs/conformance.md argues each.
const ARGUED: [(&str, &str); 3] = [
    ("9113-8.3.1", ":path holds no fragment"),
    ("9113-8.1", "pseudo-header fields in trailers are malformed"),
    ("9110-7.8", "an upgrade to something unknown is ignored"),
];
/// The mutant: the codec alone in the gateway's place, without what the gateway checks beside it.
const BARE_CODEC: &str = "bare-codec";

pub(crate) const CLAIM: Claim = Claim {
    slug: "conformance",
    promise: "the rules of RFC 9110, 9112, 9113 and 7541 are kept, but for those that docs/conformance.md argues (n: rounds)",
    trials: 1,
    mutants: &[BARE_CODEC],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (plain, port) = ground::listener().await?;
    let _service = service::serve(plain);
    let ground = Ground::start("", &ground::document(&[Service::new("plain", port)]), "/plain/ready").await?;
    let target = if context.is_mutant(BARE_CODEC) {
        Target::plain(([127, 0, 0, 1], port).into(), "/plain/x")
    } else {
        Target::new(ground.door.address, &ground.dev.ready().ca, "/plain/x", Vec::new())?
    };
    let (mut kept, mut otherwise, mut argued) = (0, 0, 0);
    for _ in 0..context.trials.min(3) {
        for Outcome { rule, found } in conformance::run(&target, "").await? {
            let is_argued = ARGUED.contains(&(rule.section, rule.text));
            match &found {
                Found::Kept => kept += 1,
                Found::Otherwise(_) => otherwise += 1,
                Found::Broken(_) | Found::Skipped(_) => argued += u64::from(is_argued),
            }
            let held = matches!(found, Found::Kept | Found::Otherwise(_)) || is_argued;
            verdict.trial(held, || format!("{} {}: {found}", rule.section, rule.text));
        }
    }
    verdict.figure("rules", conformance::rules().len());
    verdict.figure("kept", kept);
    verdict.figure("otherwise", otherwise);
    verdict.figure("argued", argued);
    ground.stop().await
}
