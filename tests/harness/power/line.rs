//! One line of `strace -f -y -v -s 0`.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A call that began and ended without another thread's line between.
    Whole { call: Call, ended: Ended },
    /// A call that is under way.
    Begun { thread: u32, call: Call },
    /// The end of a call that was under way.
    Resumed { thread: u32, ended: Ended },
    /// Signals, exits, and calls that do not matter here.
    Other,
}

/// A call that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// Bytes written at a known place.
    Write {
        file: PathBuf,
        bytes: Range<u64>,
    },
    /// A file or directory made durable.
    Sync {
        file: PathBuf,
    },
    /// A file made that was not there.
    Create {
        file: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        file: PathBuf,
    },
    /// Traced, but without effect on what is lost.
    Nothing,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this value.
    Returned(u64),
    /// With an error, or not at all.
    Failed,
    /// It was not made; `strace` answered instead.
    Injected,
}

/// Reads `<thread> <text>`.
pub(super) fn parse(text: &str) -> Result<Line> {
    let Some((thread, rest)) = text.split_once(' ') else {
        return Ok(Line::Other);
    };
    let thread = thread.parse().context("no thread number")?;
    let rest = rest.trim_start();
    if rest.starts_with("+++") || rest.starts_with("---") {
        return Ok(Line::Other);
    }
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (_, result) = resumed.rsplit_once(") ").context("no end of the call")?;
        return Ok(Line::Resumed { thread, ended: ended(result)? });
    }
    if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
        let call = call(begun.trim_end().trim_end_matches(','))?;
        return Ok(Line::Begun { thread, call });
    }
    let Some((body, result)) = rest.rsplit_once(" = ") else {
        return Ok(Line::Other);
    };
    let ended = ended_value(result)?;
    let body = body.trim_end();
    let call = call(body.strip_suffix(')').unwrap_or(body))?;
    Ok(Line::Whole { call, ended })
}

fn ended(text: &str) -> Result<Ended> {
    let value = text.trim().strip_prefix('=').context("no result")?;
    ended_value(value)
}

fn ended_value(text: &str) -> Result<Ended> {
    let text = text.trim();
    if text.ends_with("(INJECTED)") {
        return Ok(Ended::Injected);
    }
    if text.starts_with('-') || text.starts_with('?') {
        return Ok(Ended::Failed);
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let value = digits.parse().with_context(|| format!("{text:?} is no result"))?;
    Ok(Ended::Returned(value))
}

/// Reads `name(arguments`, without the closing bracket.
fn call(text: &str) -> Result<Call> {
    let (name, arguments) = text.split_once('(').context("no call")?;
    match name {
        "pwrite64" => {
            let (offset, rest) = last_number(arguments)?;
            let (length, _) = last_number(rest)?;
            write(arguments, offset, length)
        }
        "pwritev" => {
            let (offset, _) = last_number(arguments)?;
            write(arguments, offset, vector_bytes(arguments)?)
        }
        "pwritev2" => {
            let (rest, _flags) = arguments.rsplit_once(", ").context("no flags")?;
            let (offset, _) = last_number(rest)?;
            write(arguments, offset, vector_bytes(arguments)?)
        }
        "fdatasync" | "fsync" => Ok(Call::Sync { file: descriptor(arguments)? }),
        "openat" if arguments.contains("O_CREAT") && arguments.contains("O_EXCL") => Ok(Call::Create { file: joined(arguments)?.0 }),
        "rename" => {
            let (from, rest) = quoted(arguments)?;
            let (to, _) = quoted(rest)?;
            Ok(Call::Rename { from: from.into(), to: to.into() })
        }
        "renameat" | "renameat2" => {
            let (from, rest) = joined(arguments)?;
            let rest = rest.strip_prefix(", ").context("no second path")?;
            let (to, _) = joined(rest)?;
            Ok(Call::Rename { from, to })
        }
        "unlink" => Ok(Call::Unlink { file: quoted(arguments)?.0.into() }),
        "unlinkat" => Ok(Call::Unlink { file: joined(arguments)?.0 }),
        "open" if arguments.contains("O_CREAT") && arguments.contains("O_EXCL") => Ok(Call::Create { file: quoted(arguments)?.0.into() }),
        "open" | "openat" => Ok(Call::Nothing),
        // A thread that is killed at the moment it enters a call leaves a register that names no call; it has not been made.
        unmade if unmade.starts_with("syscall_0x") || unmade == "???" => Ok(Call::Nothing),
        other => bail!("{other} is not a traced call"),
    }
}

fn write(arguments: &str, offset: u64, length: u64) -> Result<Call> {
    Ok(Call::Write { file: descriptor(arguments)?, bytes: offset..offset.saturating_add(length) })
}

/// The path in `7</path>, ..` or `7</path>(deleted), ..`.
fn descriptor(arguments: &str) -> Result<PathBuf> {
    let (_, rest) = arguments.split_once('<').context("no path of the descriptor")?;
    let (path, _) = rest.split_once('>').context("no end of the path")?;
    Ok(path.into())
}

/// A path relative to a directory descriptor: `AT_FDCWD</dir>, "name"..`, and what follows it.
fn joined(arguments: &str) -> Result<(PathBuf, &str)> {
    let dir = descriptor(arguments)?;
    let (name, rest) = quoted(arguments)?;
    Ok((dir.join(name), rest))
}

fn quoted(text: &str) -> Result<(&str, &str)> {
    let (_, rest) = text.split_once('"').context("no path")?;
    rest.split_once('"').context("no end of the path")
}

fn last_number(text: &str) -> Result<(u64, &str)> {
    let (rest, last) = text.rsplit_once(", ").context("too few arguments")?;
    let number = last.trim().parse().with_context(|| format!("{last:?} is no number"))?;
    Ok((number, rest))
}

fn vector_bytes(text: &str) -> Result<u64> {
    let mut sum = 0_u64;
    let mut pieces = text.split("iov_len=");
    pieces.next();
    for piece in pieces {
        let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
        sum += digits.parse::<u64>().context("no length")?;
    }
    Ok(sum)
}
