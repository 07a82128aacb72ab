use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::Notify;

fn heard(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0_u8; 512];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

#[test]
fn each_message_is_one_datagram_to_a_path_or_an_abstract_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let name = format!("causeway-notify-test-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();

    for (socket, address) in [
        (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
        (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
    ] {
        let notify = Notify::new(Some(&address), None).unwrap();

        notify.ready();
        assert_eq!(heard(&socket), format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id()));
        notify.reloading();
        let reloading = heard(&socket);
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        notify.stopping();
        assert!(heard(&socket).starts_with("STOPPING=1\n"));
    }
}

#[test]
fn without_a_supervisor_nothing_is_said_and_nothing_fails() {
    for name in [None, Some("")] {
        Notify::new(name, None).unwrap().ready();
    }
    // Whoever listened is gone.
    Notify::new(Some("/nonexistent/notify"), None).unwrap().ready();
    assert!(Notify::new(Some(&"x".repeat(200)), None).is_err());
}
