//! What a data directory tells about its server, and how one that lost its owner is ended.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::time::Instant;

use super::{LOOK_EVERY, STOP_STEP};

/// The pid in `postmaster.pid`, and whether its status line says that connections are accepted.
pub(super) fn lock_file(data: &Path) -> Option<(u32, bool)> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    // A negative number marks a standalone backend.
    let pid = lines.next()?.trim().trim_start_matches('-').parse().ok()?;
    let ready = lines.nth(6).is_some_and(|status| status.trim() == "ready");
    Some((pid, ready))
}

/// Stops a postmaster that outlived its parent, and removes a lock file whose process is gone or is another program.
///
/// The caller holds the directory's lock, so whatever runs here has lost its owner.
pub(super) async fn end_orphan(data: &Path) -> Result<()> {
    let Some((pid, _)) = lock_file(data) else {
        return Ok(());
    };
    // A postmaster works inside its data directory; a recycled pid does not.
    let is_ours = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    if is_ours && let Ok(handle) = super::child::handle_of(pid) {
        for step in [Signal::INT, Signal::QUIT, Signal::KILL] {
            super::child::send(&handle, step);
            let deadline = Instant::now() + STOP_STEP;
            while Instant::now() < deadline {
                let alive = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
                if !alive {
                    return forget(data);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        bail!("PostgreSQL process {pid}, left by an earlier run in {}, does not end", data.display());
    }
    forget(data)
}

fn forget(data: &Path) -> Result<()> {
    let file = data.join("postmaster.pid");
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {}", file.display())),
        _ => Ok(()),
    }
}

pub(super) fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {}", dir.display())),
        _ => Ok(()),
    }
}
