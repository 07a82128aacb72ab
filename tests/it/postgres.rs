//! The private `PostgreSQL`: what `causeway dev` and the harness rest on.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use app::postgres::{Binaries, Cluster, Fsync, Stop, Upstream};
use harness::wait;
use rustix::process::{Pid, Signal, kill_process};

const PASSWORD: &str = "it's a \\ secret";

async fn primary(dir: &Path, port: u16) -> Result<Cluster> {
    let binaries = Binaries::find(None)?;
    Cluster::primary(&binaries, &dir.join("primary"), port, PASSWORD, Fsync::Off).await
}

async fn standby(dir: &Path, upstream: &Cluster) -> Result<Cluster> {
    let binaries = Binaries::find(None)?;
    let upstream = Upstream::of(upstream);
    Cluster::standby(&binaries, &dir.join("standby"), 0, &upstream, "other", Fsync::Off).await
}

async fn ask(cluster: &Cluster, statement: &str) -> Result<String> {
    Ok(cluster.run("postgres", &[], statement).await?.trim().to_owned())
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_shows_what_the_primary_committed_and_both_keep_it_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = primary(dir.path(), 0).await.unwrap();
    let mut second = standby(dir.path(), &first).await.unwrap();
    let ports = (first.port(), second.port());

    ask(&first, "create table t (n int); insert into t values (41)").await.unwrap();
    wait::until("the row on the standby", Duration::from_secs(10), async || ask(&second, "select n from t").await.ok().as_deref() == Some("41"))
        .await
        .unwrap();
    second.stop(Stop::Fast).await.unwrap();
    first.stop(Stop::Immediate).await.unwrap();
    first.start().await.unwrap();
    second.start().await.unwrap();

    assert_eq!(ask(&second, "select n from t").await.unwrap(), "41");
    assert_eq!((first.port(), second.port()), ports, "ports are kept");
    assert_eq!(ask(&second, "select pg_is_in_recovery()").await.unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_kept_between_runs_and_the_standby_is_not_copied_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let first = primary(dir.path(), 0).await.unwrap();
        let _second = standby(dir.path(), &first).await.unwrap();
        ask(&first, "create table t (n int); insert into t values (7)").await.unwrap();
    }
    let made = std::fs::metadata(dir.path().join("standby/data/PG_VERSION")).unwrap();

    let first = primary(dir.path(), 0).await.unwrap();
    let second = standby(dir.path(), &first).await.unwrap();

    wait::until("the row on the standby", Duration::from_secs(10), async || ask(&second, "select n from t").await.ok().as_deref() == Some("7"))
        .await
        .unwrap();
    let now = std::fs::metadata(dir.path().join("standby/data/PG_VERSION")).unwrap();
    assert_eq!(made.modified().unwrap(), now.modified().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_of_another_cluster_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    {
        let first = primary(dir.path(), 0).await.unwrap();
        let _second = standby(dir.path(), &first).await.unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("primary")).unwrap();

    let first = primary(dir.path(), 0).await.unwrap();
    let second = standby(dir.path(), &first).await.unwrap();

    let identifier = "select system_identifier from pg_control_system()";
    assert_eq!(ask(&first, identifier).await.unwrap(), ask(&second, identifier).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn promoted_standby_is_made_anew_instead_of_following_its_own_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let first = primary(dir.path(), 0).await.unwrap();
    {
        let second = standby(dir.path(), &first).await.unwrap();
        ask(&second, "select pg_promote()").await.unwrap();
    }

    let second = standby(dir.path(), &first).await.unwrap();

    assert_eq!(ask(&second, "select pg_is_in_recovery()").await.unwrap(), "t");
    wait::until("the standby streams", Duration::from_secs(10), async || {
        let state = "select state from pg_stat_replication";
        ask(&first, state).await.ok().as_deref() == Some("streaming")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_postmaster_is_noticed_and_starts_again_over_its_stale_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = primary(dir.path(), 0).await.unwrap();
    ask(&first, "create table t (n int)").await.unwrap();

    kill(first.pid());
    let gone = tokio::time::timeout(Duration::from_secs(5), first.gone()).await;
    let stale = first.data_dir().join("postmaster.pid").exists();
    first.start().await.unwrap();

    assert!(gone.is_ok(), "its end is heard of");
    assert!(stale, "kill -9 leaves the lock file");
    assert_eq!(ask(&first, "select count(*) from t").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_in_use_is_refused_and_its_server_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = primary(dir.path(), 0).await.unwrap();

    let refused = primary(dir.path(), 0).await.unwrap_err();

    assert!(format!("{refused:#}").contains("in use"), "{refused:#}");
    assert_eq!(ask(&first, "select 1").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_port_is_named_in_the_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();

    let refused = primary(dir.path(), port).await.unwrap_err();

    assert!(format!("{refused:#}").contains(&format!("port {port} is taken")), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_of_another_password_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    drop(primary(dir.path(), 0).await.unwrap());

    let binaries = Binaries::find(None).unwrap();
    let refused = Cluster::primary(&binaries, &dir.path().join("primary"), 0, "other", Fsync::Off).await.unwrap_err();

    assert!(format!("{refused:#}").contains("another password"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_server_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = primary(dir.path(), 0).await.unwrap();
    let pid = first.pid();

    drop(first);

    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_that_only_root_may_enter_is_served_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    // tempdir() makes it with mode 0700 and our own uid already; this says so instead of relying on it.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();

    let first = primary(&dir.path().join("deep/er"), 0).await.unwrap();

    assert_eq!(ask(&first, "select 1").await.unwrap(), "1");
}

#[test]
fn missing_binaries_are_refused_with_the_package_to_install() {
    let dir = tempfile::tempdir().unwrap();

    let refused = Binaries::find(Some(dir.path())).unwrap_err();

    assert!(format!("{refused:#}").contains("apt-get install postgresql-15"), "{refused:#}");
}
