//! `namespaces`: what `revocation` and `read-your-writes` promise, in regions with addresses of their own. Each is a network namespace; rules of
//! the kernel cut one off, and lose packets between all of them ([`harness::testbed`]).
//!
//! Keys are issued beside the primary, seen to work through every node, and revoked, most of them with `?wait=effective`; some while a region
//! is cut off, which must then refuse where confirmed keys are demanded once its bound is over, serve elsewhere, and recover. Then sessions
//! write and read with tokens while packets are lost and one standby after the other stands still. It needs root, `ip` and `nft`.

use std::time::Duration;

use anyhow::Result;
use harness::regions::Distance;
use harness::site::Site;
use harness::testbed::{self, Testbed};
use harness::wait;
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict};
use crate::figures::millis;
use crate::{read_your_writes, revocation};

/// Reads for each key.
const READS_EACH: u64 = 100;
/// Packets between regions that are lost, of a hundred.
const LOST: u32 = 5;
/// How long the nodes may take to serve again once no more packets are lost.
const WELL_WITHIN: Duration = Duration::from_secs(20);

/// Always.
pub(crate) const REGIONS: u32 = 3;

pub(crate) const CLAIM: Claim = Claim {
    slug: "namespaces",
    promise: "in regions with addresses of their own no revoked key is accepted beyond its bound while one is cut off by the kernel, and no read with a token is stale while packets are lost",
    trials: 20,
    mutants: &[revocation::UNFENCED, read_your_writes::TOKEN_DROPPED],
    obstacle: testbed::obstacle,
    run: |context, verdict| -> Run<'_> {
        Box::pin(async { testbed::with(Distance::CONTINENTS, async |testbed| run(testbed, context, verdict).await) })
    },
};

async fn run(testbed: Testbed, context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let is_unfenced = context.is_mutant(revocation::UNFENCED);
    testbed.apply(|text| read_your_writes::document(&revocation::document(text, is_unfenced))).await?;
    let site = Box::pin(revocation::over(Site::Namespaces(Box::new(testbed)), verdict, u32::try_from(context.trials)?)).await?;
    let Site::Namespaces(testbed) = &site else { anyhow::bail!("the testbed has become another one") };
    let [cut, _] = testbed.dropped()?;
    verdict.trial(cut > 0, || "no packet of a region that is cut off was dropped: this proves nothing".to_owned());

    testbed.lose(LOST)?;
    let began = Instant::now();
    let standbys = (1..testbed.names().len()).map(|region| testbed.server(region)).collect::<Result<Vec<_>>>()?;
    let (servers, reads) = ((testbed.primary(), standbys.as_slice()), context.trials.saturating_mul(READS_EACH));
    Box::pin(read_your_writes::over(&site, servers, context, verdict, reads)).await?;
    verdict.figure("lossy_s", began.elapsed().as_secs());
    let [_, lost] = testbed.dropped()?;
    verdict.trial(lost > 0, || "no packet was lost: this proves nothing".to_owned());
    testbed.lose(0)?;
    let well = wait::until("nodes that serve", WELL_WITHIN, async || testbed.wait_serving().await.is_ok()).await;
    verdict.trial(well.is_ok(), || "a node does not serve once no more packets are lost".to_owned());
    verdict.figure("well_again_ms", well.map_or_else(|_| "never".to_owned(), millis));
    verdict.figure("packets_cut", cut);
    verdict.figure("packets_lost", lost);
    site.stop().await
}
