//! Whether a commit has waited for its standbys to the end.
//!
//! A commit that waits for a synchronous standby can be cut short, by whoever cancels it. (`statement_timeout` does not: it is over when the
//! wait begins, so every wait has an end of its own here.) The server then answers as to any other, and warns: the change is done here, and nowhere else perhaps (T6). The driver has no call for warnings; it logs
//! them, from within the call that receives them. So that is where they are looked for, and a test cancels a real commit.

use std::{cell::Cell, pin::pin, sync::OnceLock, task::Poll, time::Duration};

use tokio::time::timeout;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::with_default,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

use crate::{error::StoreError, pool::Primary};

/// Where the driver logs what a server says beside its answers.
const NOTICES: &str = "sqlx::postgres::notice";
/// How often what was cut short is waited for behind it.
const BARRIERS: usize = 3;
/// How long it is waited for at a time.
const BARRIER_WITHIN: Duration = Duration::from_secs(5);

thread_local! {
    static WARNED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call that commits; true when the server has warned of nothing. A call that failed says nothing either way.
pub(crate) async fn watched<F: Future>(call: F) -> (F::Output, bool) {
    let mut call = pin!(call);
    let mut is_clean = true;
    let output = std::future::poll_fn(|context| {
        WARNED.set(false);
        let polled: Poll<F::Output> = with_default(notices(), || call.as_mut().poll(context));
        is_clean &= !WARNED.get();
        polled
    })
    .await;
    (output, is_clean)
}

/// Waits for what was committed and may be on this server alone: a later commit that waits to its end has waited for it too.
///
/// # Errors
/// [`StoreError::Unavailable`] when each was cut short, or there was no answer in time.
pub async fn barrier(primary: &Primary) -> Result<(), StoreError> {
    for _ in 0..BARRIERS {
        let call = watched(sqlx::query_file!("queries/control_heartbeat/barrier.sql").fetch_one(primary.pool()));
        let (done, is_clean) = timeout(BARRIER_WITHIN, call).await.map_err(|_| StoreError::unavailable("a commit waits for its standby"))?;
        done?;
        if is_clean {
            return Ok(());
        }
    }
    Err(StoreError::unavailable("a commit was not confirmed by a standby"))
}

/// One for all: which call it is for is told by the thread that polls it.
fn notices() -> &'static Dispatch {
    static BOTH: OnceLock<[Dispatch; 2]> = OnceLock::new();
    // Two, and one is for nothing but the count: where a process has a single one, `tracing` asks only the thread that logs something first
    // whether anybody wants it, and keeps the answer for good. A warning outside of such a call would silence all that come within one.
    let [notices, _] = BOTH.get_or_init(|| [Dispatch::new(Warnings), Dispatch::new(Warnings)]);
    notices
}

/// Takes the driver's warnings, and nothing else.
#[derive(Debug)]
struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICES && *metadata.level() <= Level::WARN
    }

    /// Or every disabled event of the process would be asked about.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        WARNED.set(true);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
