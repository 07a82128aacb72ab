use std::{mem::MaybeUninit, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A connection, and its other end.
async fn pair() -> (Corked, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Corked::new(accepted.unwrap().0), client.unwrap())
}

/// What has come: a byte that was sent before arrives before one that is sent now, so nothing has to be waited for.
async fn come(client: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut bytes)).await.expect("too little came").unwrap();
    assert_eq!(bytes, expected);
}

/// Asks the kernel: loopback delivers within the call that sends.
fn nothing_has_come(client: &TcpStream) {
    let peeked = SockRef::from(client).peek(&mut [MaybeUninit::uninit()]);
    assert!(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock), "it came too early");
}

#[tokio::test]
async fn flight_of_a_handshake_leaves_when_the_server_reads_on() {
    let (mut server, mut client) = pair().await;

    server.write_all(b"hello").await.unwrap();
    server.flush().await.unwrap();
    nothing_has_come(&client);

    client.write_all(b"!").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'!');
    come(&mut client, b"hello").await;
}

#[tokio::test]
async fn tickets_leave_with_the_first_response_and_neither_reads_nor_flushes_send_them_before() {
    let (mut server, mut client) = pair().await;

    server.write_all(b"tickets ").await.unwrap();
    server.begin();
    server.flush().await.unwrap();
    client.write_all(b"?").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'?');
    nothing_has_come(&client);

    server.write_all(b"response").await.unwrap();
    come(&mut client, b"tickets response").await;
    server.write_all(b" again").await.unwrap();
    come(&mut client, b" again").await;
}

#[tokio::test]
async fn alert_or_an_older_handshakes_end_leaves_with_the_flush() {
    let (mut server, mut client) = pair().await;

    server.write_all(b"alert").await.unwrap();
    server.uncork();
    server.flush().await.unwrap();
    come(&mut client, b"alert").await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_connection_ends_before_the_first_response() {
    let (mut server, mut client) = pair().await;

    server.write_all(b"tickets").await.unwrap();
    server.begin();
    server.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"tickets");
}

#[tokio::test]
async fn first_response_larger_than_the_sockets_buffers_arrives_whole_behind_the_tickets() {
    let (mut server, mut client) = pair().await;
    let large: Vec<u8> = (0..16_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();

    server.write_all(b"tickets").await.unwrap();
    server.begin();
    let mut all = Vec::new();
    let (sent, read) = tokio::join!(
        async {
            server.write_all(&large).await?;
            server.shutdown().await
        },
        client.read_to_end(&mut all)
    );
    sent.unwrap();
    read.unwrap();
    assert_eq!(all.len(), large.len() + 7);
    assert!(all.starts_with(b"tickets") && all.ends_with(&large));
}
