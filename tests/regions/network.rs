//! The namespaces, the wires between them, and the rules that spoil these.
//!
//! Each region is a namespace with one wire to a router, which forwards nothing: what goes to another region's address is handed to a
//! proxy on the router, which has it for as long as the way takes, and sends it on from an address that only this pair of regions uses. So
//! each packet between two regions passes the router's rules twice, and can be told from all others there.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;

/// The namespaces of the regions, the writer's first.
pub(super) const PLACES: [&str; 3] = ["eu", "us", "ap"];
/// That of the router, where the checker is, too.
const ROUTER: &str = "net";
/// Where `ip` keeps namespaces by name.
const NAMED: &str = "/run/netns";
/// The programs that make networks.
const PROGRAMS: [&str; 2] = ["prove", "it-"];
/// One rule of each kind, for whoever asks whether the kernel has them.
const PARTS: &str = "table ip probe {\n  chain lines {\n    type nat hook prerouting priority -100; policy accept;\n    tcp dport 1 redirect to :2\n  }\n  \
                     chain leaving {\n    type filter hook postrouting priority 300; policy accept;\n    numgen random mod 100 < 5 counter drop\n  }\n}\n";
/// How often, and how long between, a killed process is looked for again.
const GONE_LOOKS: u32 = 1_000;
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the rules drop.
#[derive(Debug, Default)]
struct Spoiled {
    /// Pairs of regions that hear nothing of each other.
    cuts: Vec<(usize, usize)>,
    /// Of a hundred packets between two regions.
    lost: u32,
}

/// A running network. Its namespaces, and every process in them, end with it.
#[derive(Debug)]
pub(super) struct Network {
    prefix: String,
    spoiled: Mutex<Spoiled>,
}

/// The address of a region: its server, its service and its nodes have it.
pub(super) const fn address(region: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, subnet(region), 1)
}

/// The router's address in region `to` from which it speaks for region `from`.
pub(super) const fn on_behalf(from: usize, to: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, subnet(to), 200 + subnet(from))
}

#[expect(clippy::cast_possible_truncation, reason = "there are three regions")]
const fn subnet(region: usize) -> u8 {
    region as u8 + 1
}

/// Why no network can be made here, if it cannot.
pub(super) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for (program, argument, package) in [("ip", "-V", "iproute2"), ("nft", "-v", "nftables"), ("setpriv", "-V", "util-linux")] {
        let said = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !said.is_ok_and(|status| status.success()) {
            return Some(format!("there is no {program}; `bin/setup {package}` installs it"));
        }
    }
    // A container's root may have the programs and not the right, and a kernel not all of the parts.
    let name = format!("cw{}-{ROUTER}", std::process::id());
    let probe = || {
        run("ip", &["netns", "add", &name], None)?;
        run("ip", &["-n", &name, "link", "add", "name", "one", "type", "veth", "peer", "name", "other"], None)?;
        run("ip", &["netns", "exec", &name, "nft", "-f", "-"], Some(PARTS))
    };
    let (made, removed) = (probe(), remove(&name));
    made.map(drop).and(removed).err().map(|error| format!("{error:#}"))
}

impl Network {
    /// Removes what runs that were killed have left, and makes the namespaces of this one.
    ///
    /// # Errors
    /// When a step is refused; what was made is removed.
    pub(super) fn new() -> Result<Self> {
        sweep()?;
        let network = Self { prefix: format!("cw{}", std::process::id()), spoiled: Mutex::default() };
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<()> {
        let router = self.router();
        run("ip", &["netns", "add", &router], None)?;
        run("ip", &["-n", &router, "link", "set", "dev", "lo", "up"], None)?;
        for (region, place) in PLACES.into_iter().enumerate() {
            let own = self.region(region);
            let inside = |words: &[&str]| run("ip", &[&["-n", &own], words].concat(), None);
            let outside = |words: &[&str]| run("ip", &[&["-n", &router], words].concat(), None);
            run("ip", &["netns", "add", &own], None)?;
            outside(&["link", "add", "name", place, "type", "veth", "peer", "name", "wan", "netns", &own])?;
            let gate = Ipv4Addr::new(10, 77, subnet(region), 254).to_string();
            outside(&["address", "add", &format!("{gate}/24"), "dev", place])?;
            for from in (0..PLACES.len()).filter(|from| *from != region) {
                outside(&["address", "add", &format!("{}/32", on_behalf(from, region)), "dev", place])?;
            }
            outside(&["link", "set", "dev", place, "up"])?;
            inside(&["link", "set", "dev", "lo", "up"])?;
            inside(&["address", "add", &format!("{}/24", address(region)), "dev", "wan"])?;
            inside(&["link", "set", "dev", "wan", "up"])?;
            inside(&["route", "add", "default", "via", &gate])?;
        }
        self.nft(
            "table ip testbed {\n  counter cut { }\n  counter lost { }\n  chain lines { type nat hook prerouting priority -100; policy accept; }\n  \
             chain arriving { type filter hook prerouting priority -300; policy accept; }\n  \
             chain leaving { type filter hook postrouting priority 300; policy accept; }\n}\n",
        )
    }

    fn router(&self) -> String {
        format!("{}-{ROUTER}", self.prefix)
    }

    /// The name of a region's namespace.
    pub(super) fn region(&self, region: usize) -> String {
        format!("{}-{}", self.prefix, PLACES.get(region).copied().unwrap_or_default())
    }

    /// The words that start a program in a region's namespace; it gets `last` when the thread that starts it ends.
    pub(super) fn start_in(&self, region: usize, user: Option<(u32, u32)>, last: &str) -> Vec<String> {
        let mut words = ["ip", "netns", "exec", &self.region(region), "setpriv"].map(str::to_owned).to_vec();
        if let Some((user, group)) = user {
            words.extend([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        }
        words.extend([format!("--pdeathsig={last}"), "--".to_owned()]);
        words
    }

    /// Moves the calling thread, and all threads and processes that it starts from then on, to the router.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn enter(&self) -> Result<()> {
        let named = std::fs::File::open(Path::new(NAMED).join(self.router())).context("the router's namespace")?;
        move_into_link_name_space(named.as_fd(), Some(LinkNameSpaceType::Network)).context("cannot enter the router's namespace")
    }

    /// Hands what region `from` sends to a port of region `to` to a port of the router.
    ///
    /// # Errors
    /// When the rule is refused.
    pub(super) fn redirect(&self, from: usize, to: usize, port: u16, proxy: u16) -> Result<()> {
        let place = PLACES.get(from).context("there is no such region")?;
        self.nft(&format!("add rule ip testbed lines iifname \"{place}\" ip daddr {} tcp dport {port} redirect to :{proxy}\n", address(to)))
    }

    /// Lets a region hear nothing of the others, and them nothing of it.
    ///
    /// # Errors
    /// When the rules are refused.
    pub(super) fn cut_off(&self, region: usize) -> Result<()> {
        self.change(|spoiled| spoiled.cuts.extend((0..PLACES.len()).filter(|other| *other != region).map(|other| (region, other))))
    }

    /// Ends that.
    ///
    /// # Errors
    /// When the rules are refused.
    pub(super) fn rejoin(&self, region: usize) -> Result<()> {
        self.change(|spoiled| spoiled.cuts.retain(|(one, other)| *one != region && *other != region))
    }

    /// Drops so many of a hundred packets between any two regions, by chance.
    ///
    /// # Errors
    /// When the rules are refused.
    pub(super) fn lose(&self, of_a_hundred: u32) -> Result<()> {
        self.change(|spoiled| spoiled.lost = of_a_hundred)
    }

    /// Packets that were dropped so far: those between regions that were cut off from each other, and those that were lost.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub(super) fn dropped(&self) -> Result<[u64; 2]> {
        let text = run("ip", &["netns", "exec", &self.router(), "nft", "list", "counters"], None)?;
        let count = |name: &str| {
            let (_, rest) = text.split_once(&format!("counter {name} {{"))?;
            rest.split_once("packets ")?.1.split_whitespace().next()?.parse().ok()
        };
        Ok([count("cut").context("no counter of cuts")?, count("lost").context("no counter of losses")?])
    }

    fn change(&self, change: impl FnOnce(&mut Spoiled)) -> Result<()> {
        let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut spoiled);
        self.nft(&rules(&spoiled))
    }

    /// All of the text takes effect at once.
    fn nft(&self, text: &str) -> Result<()> {
        run("ip", &["netns", "exec", &self.router(), "nft", "-f", "-"], Some(text)).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in PLACES.into_iter().chain([ROUTER]) {
            // A drop can tell nobody; what is left is swept by the next run.
            drop(remove(&format!("{}-{place}", self.prefix)));
        }
    }
}

/// The rules that replace those before. Of each pair both halves of the way are cut: that to the router, and that from it.
fn rules(spoiled: &Spoiled) -> String {
    let mut text = "flush chain ip testbed arriving\nflush chain ip testbed leaving\n".to_owned();
    let mut rule = |region: usize, address: Ipv4Addr, verdict: &str| {
        let place = PLACES.get(region).copied().unwrap_or_default();
        for (chain, interface, side) in [("arriving", "iifname", "daddr"), ("leaving", "oifname", "saddr")] {
            let parts = ["add rule ip testbed ", chain, " ", interface, " \"", place, "\" ip ", side, " ", &address.to_string(), " ", verdict, "\n"];
            text.extend(parts);
        }
    };
    for (one, other) in &spoiled.cuts {
        for (from, to) in [(*one, *other), (*other, *one)] {
            rule(from, address(to), "counter name cut drop");
            rule(to, on_behalf(from, to), "counter name cut drop");
        }
    }
    if spoiled.lost > 0 {
        let verdict = format!("numgen random mod 100 < {} counter name lost drop", spoiled.lost);
        for (from, to) in (0..PLACES.len()).flat_map(|from| (0..PLACES.len()).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            rule(from, address(to), &verdict);
        }
    }
    text
}

/// The process that a name of ours belongs to: `cw<pid>-<place>`.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix("cw")?.split_once('-')?;
    pid.parse().ok()
}

/// Whether a process is there that may have made something of that name, and not one that has got its number later.
fn is_owned(name: &str) -> bool {
    let file = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = std::env::current_exe().ok().and_then(file);
    let of = owner(name).and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok()).and_then(file);
    // A build meanwhile makes a running program's file another one: ` (deleted)` is added.
    of.is_some_and(|of| own.is_some_and(|own| of.starts_with(&own)) || PROGRAMS.iter().any(|program| of.starts_with(program)))
}

/// Removes the namespaces and folders of runs that are over.
fn sweep() -> Result<()> {
    let left = |folder: &Path| {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| owner(name).is_some() && !is_owned(name)).collect::<Vec<_>>()
    };
    for name in left(Path::new(NAMED)) {
        remove(&name)?;
    }
    let folders = std::env::temp_dir();
    for name in left(&folders) {
        std::fs::remove_dir_all(folders.join(&name)).with_context(|| format!("cannot remove the folder {name} of a run before"))?;
    }
    Ok(())
}

/// Removes a namespace with all processes in it, if there is one.
fn remove(name: &str) -> Result<()> {
    if !Path::new(NAMED).join(name).exists() {
        return Ok(());
    }
    // Servers start processes while they are ended.
    for _ in 0..GONE_LOOKS {
        let pids = run("ip", &["netns", "pids", name], None)?;
        let processes: Vec<Process> =
            pids.split_whitespace().filter_map(|pid| Process::of(pid.parse().ok()?).ok()).filter(|of| of.is_alive()).collect();
        if processes.is_empty() {
            return run("ip", &["netns", "delete", name], None).map(drop);
        }
        for process in processes {
            process.signal(Signal::KILL);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    bail!("processes in {name} do not end")
}

/// Runs a program to its end, and answers what it said.
fn run(program: &str, words: &[&str], input: Option<&str>) -> Result<String> {
    let what = || format!("{program} {}", words.join(" "));
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(program).args(words).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(what)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).with_context(what)?;
    }
    let output = child.wait_with_output().with_context(what)?;
    ensure!(output.status.success(), "{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_names_both_halves_of_the_way_and_only_the_two_regions_and_a_name_of_ours_tells_whose_it_is() {
        let text = rules(&Spoiled { cuts: vec![(0, 2)], lost: 0 });
        assert_eq!(text.matches(" drop").count(), 8);
        for part in [
            "iifname \"ap\" ip daddr 10.77.1.1 ",
            "oifname \"ap\" ip saddr 10.77.1.1 ",
            "iifname \"eu\" ip daddr 10.77.1.203 ",
            "ip daddr 10.77.3.1 ",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("\"us\"") && !text.contains("10.77.2."), "{text}");

        let text = rules(&Spoiled { cuts: Vec::new(), lost: 5 });
        assert_eq!(text.matches("numgen random mod 100 < 5 counter name lost drop").count(), 12);
        assert!(!rules(&Spoiled::default()).contains("drop"));

        assert_eq!(["cw12-eu", "cw12-x1", "cw-eu", "cwx-eu", "other", "cw12"].map(owner), [Some(12), Some(12), None, None, None, None]);
        assert!(!is_owned("cw1-eu"), "another program has this number");
        assert!(is_owned(&format!("cw{}-eu", std::process::id())));
    }
}
