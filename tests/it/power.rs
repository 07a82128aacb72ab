//! What a trace says about a power loss: on planted traces, and on a real process under `strace`.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::power::{self, Fdatasync, SyncTrace};

fn unsynced(trace: &str) -> Vec<(u64, u64)> {
    let trace = SyncTrace::parse(trace).unwrap();
    trace.unsynced(Path::new("/s")).into_iter().map(|(_, range)| (range.start, range.end)).collect()
}

/// A name, a trace, and the ranges that are lost.
type Case = (&'static str, &'static str, &'static [(u64, u64)]);

#[test]
fn planted_traces_lose_exactly_what_no_sync_covers() {
    let cases: &[Case] = &[
        ("synced", "1 pwrite64(7</s/a>, \"\"..., 83, 4096) = 83\n1 fdatasync(7</s/a>) = 0\n", &[]),
        ("never synced", "1 pwrite64(7</s/a>, \"\"..., 83, 4096) = 83\n", &[(4096, 4179)]),
        ("sync removed", "1 pwrite64(7</s/a>, \"\"..., 83, 4096) = 83\n1 fdatasync(7</s/a>)         = 0 (INJECTED)\n", &[(4096, 4179)]),
        ("sync failed", "1 pwrite64(7</s/a>, \"\"..., 10, 0) = 10\n1 fdatasync(7</s/a>) = -1 EIO (Input/output error)\n", &[(0, 10)]),
        ("sync of another file", "1 pwrite64(7</s/a>, \"\"..., 10, 0) = 10\n1 fsync(8</s/b>) = 0\n", &[(0, 10)]),
        (
            "written after the sync",
            "1 pwrite64(7</s/a>, \"\"..., 10, 0) = 10\n1 fsync(7</s/a>) = 0\n1 pwrite64(7</s/a>, \"\"..., 5, 10) = 5\n",
            &[(10, 15)],
        ),
        (
            "sync cut short by the kill",
            "1 pwrite64(7</s/a>, \"\"..., 10, 0) = 10\n1 fdatasync(7</s/a> <unfinished ...>\n1 +++ killed by SIGKILL +++\n",
            &[(0, 10)],
        ),
        ("write cut short by the kill", "1 pwrite64(7</s/a>, \"\"..., 10, 20 <unfinished ...>\n1 +++ killed by SIGKILL +++\n", &[(20, 30)]),
        (
            "write that ends while another thread syncs is not covered",
            "1 pwrite64(7</s/a>, \"\"..., 10, 0 <unfinished ...>\n2 fdatasync(7</s/a> <unfinished ...>\n\
             1 <... pwrite64 resumed>)           = 10\n2 <... fdatasync resumed>)          = 0\n",
            &[(0, 10)],
        ),
        (
            "write that ended before another thread's sync began is covered",
            "1 pwrite64(7</s/a>, \"\"..., 10, 0 <unfinished ...>\n1 <... pwrite64 resumed>) = 10\n\
             2 fdatasync(7</s/a> <unfinished ...>\n2 <... fdatasync resumed>) = 0\n",
            &[],
        ),
        (
            "vectored writes, and a short one",
            "1 pwritev(7</s/a>, [{iov_base=\"\"..., iov_len=10}, {iov_base=\"\"..., iov_len=6}], 2, 100) = 16\n\
             1 pwritev2(7</s/a>, [{iov_base=\"\"..., iov_len=10}], 1, 200, 0) = 4\n",
            &[(100, 116), (200, 204)],
        ),
        (
            "renamed file keeps its loss, removed file has none",
            "1 pwrite64(7</s/a>, \"\"..., 10, 0) = 10\n1 renameat(AT_FDCWD</>, \"/s/a\", AT_FDCWD</>, \"/s/b\") = 0\n\
             1 pwrite64(8</s/c>, \"\"..., 10, 0) = 10\n1 unlink(\"/s/c\") = 0\n",
            &[(0, 10)],
        ),
        ("file elsewhere", "1 pwrite64(7</t/a>, \"\"..., 10, 0) = 10\n", &[]),
    ];

    for (name, trace, lost) in cases {
        assert_eq!(unsynced(trace), *lost, "{name}");
    }
}

#[test]
fn line_that_is_not_understood_is_an_error_and_not_a_guess() {
    for line in ["1 pwrite64(7, \"\"..., 83) = 83", "1 mystery(7</s/a>) = 0", "x pwrite64(", "1 fsync(7</s/a>) = maybe"] {
        assert!(SyncTrace::parse(line).is_err(), "{line}");
    }
}

#[test]
fn dropping_zeroes_only_unsynced_ranges_and_removes_files_without_a_durable_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("a"), [1; 30]).unwrap();
    std::fs::write(path("named"), [1; 3]).unwrap();
    std::fs::write(path("unnamed"), [1; 3]).unwrap();
    let at = dir.path().display();
    let trace = format!(
        "1 openat(AT_FDCWD</>, \"{at}/named\", O_RDWR|O_CREAT|O_EXCL, 0600) = 5<{at}/named>\n\
         1 fsync(6<{at}>) = 0\n\
         1 open(\"{at}/unnamed\", O_RDWR|O_CREAT|O_EXCL, 0600) = 5<{at}/unnamed>\n\
         1 pwrite64(7<{at}/a>, \"\"..., 10, 0) = 10\n1 fdatasync(7<{at}/a>) = 0\n\
         1 pwrite64(7<{at}/a>, \"\"..., 10, 10) = 10\n\
         1 pwrite64(7<{at}/a>, \"\"..., 10, 100 <unfinished ...>\n"
    );

    let loss = SyncTrace::parse(&trace).unwrap().drop_unsynced(dir.path()).unwrap();

    let kept = std::fs::read(path("a")).unwrap();
    assert_eq!(kept, [[1; 10], [0; 10], [1; 10]].concat());
    assert!(path("named").exists() && !path("unnamed").exists());
    assert_eq!((loss.bytes, loss.files, loss.removed), (10, 1, 1));
}

/// Writes with the system calls of the spool, syncing as `sync` says, under the tracer; the process then kills itself.
fn traced_copy(dir: &Path, fdatasync: Fdatasync, sync: &str) -> Option<(PathBuf, SyncTrace)> {
    let Ok(strace) = power::strace() else {
        return None;
    };
    let (file, output) = (dir.join("copy"), dir.join("trace"));
    std::fs::write(&file, [9; 64]).unwrap();
    // No shell tool writes with pwrite, as the spool does; Python's os module does.
    let program = format!(
        "import os\nf = os.open({:?}, os.O_RDWR)\nos.pwrite(f, b'x' * 32, 0)\n{sync}\nos.pwrite(f, b'y' * 8, 32)\nos.kill(os.getpid(), 9)\n",
        file.display().to_string()
    );
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let python = String::from_utf8(python.stdout).ok()?;
    Command::new(strace).args(power::arguments(&output, fdatasync)).arg(python.trim()).args(["-c", &program]).status().unwrap();
    Some((file, SyncTrace::read(&output).unwrap()))
}

#[test]
#[expect(clippy::print_stderr, reason = "a skip is never silent")]
fn real_trace_of_a_killed_process_keeps_what_was_synced_and_the_mutant_keeps_nothing() {
    let cases = [(Fdatasync::Real, "os.fdatasync(f)", 32), (Fdatasync::Real, "pass", 0), (Fdatasync::Removed, "os.fdatasync(f)", 0)];

    for (fdatasync, sync, kept) in cases {
        let dir = tempfile::tempdir().unwrap();
        let Some((file, trace)) = traced_copy(dir.path(), fdatasync, sync) else {
            eprintln!("skipped: strace or python3 is not installed");
            return;
        };
        trace.drop_unsynced(dir.path()).unwrap();
        let bytes = std::fs::read(file).unwrap();
        let count = |wanted: u8| bytes.iter().fold(0, |n, byte| n + usize::from(*byte == wanted));
        assert_eq!(count(b'x'), kept, "{fdatasync:?} {sync}");
        assert_eq!((count(b'y'), count(9)), (0, 24), "what no sync covers is gone, untouched bytes stay");
    }
}
