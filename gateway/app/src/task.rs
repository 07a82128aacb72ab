//! The tracked spawner of the control side: every task has a name, ends when the node stops, and is waited for.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks of one process.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Spawns a task that is dropped when the node stops.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        drop(self.tracker.spawn(async move {
            tokio::select! {
                () = task => tracing::debug!(task = name, "task ended"),
                () = stop.cancelled() => {}
            }
        }));
    }

    /// Resolves when the node is told to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until every task has ended by itself, at most `deadline`.
    pub async fn finish(&self, deadline: Duration) {
        self.tracker.close();
        // Those that are left are told to stop later.
        drop(tokio::time::timeout(deadline, self.tracker.wait()).await);
    }

    /// Tells every task to stop and waits for them, at most `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "some tasks did not stop in time");
        }
    }
}
