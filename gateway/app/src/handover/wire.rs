//! Messages of the hand-over: a line of JSON each, and descriptors beside single bytes.

use std::{
    io::{IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

/// Descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
const BATCH: usize = 64;
const LINE_BYTES_MAX: usize = 4_096;

/// Limits the time of each read and write from here on.
pub(super) fn limit(stream: &UnixStream, time: Duration) -> Result<()> {
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    Ok(())
}

/// Sends one message.
pub(super) fn send(mut stream: &UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).context("the other process does not listen")
}

/// Receives one message, byte by byte: what follows may carry descriptors, which a longer read would lose.
pub(super) fn receive<T: DeserializeOwned>(mut stream: &UnixStream) -> Result<T> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0_u8; 1];
        stream.read_exact(&mut byte).context("the other process ended, or does not answer")?;
        if byte == *b"\n" {
            return serde_json::from_slice(&line).context("the other process says something else");
        }
        ensure!(line.len() < LINE_BYTES_MAX, "the other process says too much");
        line.extend(byte);
    }
}

/// Sends descriptors.
pub(super) fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    for batch in descriptors.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut buffer = SendAncillaryBuffer::new(&mut space);
        ensure!(buffer.push(SendAncillaryMessage::ScmRights(batch)), "too many descriptors for one message");
        let sent = sendmsg(stream, &[IoSlice::new(b".")], &mut buffer, SendFlags::NOSIGNAL).context("cannot pass the listening sockets")?;
        ensure!(sent == 1, "cannot pass the listening sockets");
    }
    Ok(())
}

/// Receives exactly `count` descriptors.
pub(super) fn receive_descriptors(stream: &UnixStream, count: usize) -> Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    while received.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut buffer = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0_u8; 1];
        let message = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut buffer, RecvFlags::CMSG_CLOEXEC)
            .context("the listening sockets did not arrive")?;
        if message.bytes == 0 || message.flags.contains(ReturnFlags::CTRUNC) {
            bail!("the listening sockets did not arrive; is the limit of open files too low?");
        }
        let before = received.len();
        for ancillary in buffer.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = ancillary {
                received.extend(descriptors);
            }
        }
        ensure!(received.len() > before, "a message without a socket came");
    }
    ensure!(received.len() == count, "more sockets came than were promised");
    Ok(received)
}
