use super::{ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, Session, WINDOW_UPDATE, frame, next};
use crate::Failure;

type Outcome = Result<(), Failure>;

/// A session after its preface, with what it wrote so far thrown away.
fn started() -> Result<Session, Failure> {
    let mut output = Vec::new();
    let mut session = Session::start(&mut output);
    session.parse(b"SM\r\n\r\n", &mut output)?;
    Ok(session)
}

/// (kind, flags, stream) of each frame in `output`.
fn frames(mut output: &[u8]) -> Result<Vec<(u8, u8, u32)>, Failure> {
    let mut found = Vec::new();
    while let Some((frame, length)) = next(output)? {
        found.push((frame.kind, frame.flags, frame.stream));
        output = output.get(length..).unwrap_or_default();
    }
    Ok(found)
}

fn request(stream: u32) -> Vec<u8> {
    let mut data = Vec::new();
    frame(&mut data, HEADERS, END_HEADERS, stream, b"\x83");
    frame(&mut data, DATA, END_STREAM, stream, &[0, 0, 0, 0, 0]);
    data
}

#[test]
fn a_request_is_answered_with_head_message_and_trailers_however_it_is_cut() -> Outcome {
    for size in [1, 7, 100] {
        let mut session = started()?;
        let (mut output, mut input) = (Vec::new(), Vec::new());

        for piece in request(1).chunks(size) {
            input.extend_from_slice(piece);
            let used = session.parse(&input, &mut output)?;
            input.drain(..used);
        }

        let expected = vec![(HEADERS, END_HEADERS, 1), (DATA, 0, 1), (HEADERS, END_HEADERS | END_STREAM, 1)];
        assert_eq!(frames(&output)?, expected, "in pieces of {size} bytes");
    }
    Ok(())
}

#[test]
fn a_head_that_goes_on_is_answered_after_its_last_piece() -> Outcome {
    let mut session = started()?;
    let (mut data, mut output) = (Vec::new(), Vec::new());

    frame(&mut data, HEADERS, END_STREAM, 3, b"\x83");
    session.parse(&data, &mut output)?;
    assert_eq!(output, []);
    data.clear();
    frame(&mut data, CONTINUATION, END_HEADERS, 3, b"\x84");
    session.parse(&data, &mut output)?;

    assert_eq!(frames(&output)?.len(), 3);
    Ok(())
}

#[test]
fn answers_beyond_the_connections_window_wait_for_it() -> Outcome {
    let mut session = started()?;
    let mut output = Vec::new();
    // 65,535 bytes hold 949 messages of 69 bytes.
    for number in 0..1_000 {
        session.parse(&request(2 * number + 1), &mut output)?;
    }
    let is_message = |frame: &&(u8, u8, u32)| frame.0 == DATA;
    assert_eq!(frames(&output)?.iter().filter(is_message).count(), 949);

    let mut data = Vec::new();
    frame(&mut data, WINDOW_UPDATE, 0, 0, &100_000_u32.to_be_bytes());
    session.parse(&data, &mut output)?;

    assert_eq!(frames(&output)?.iter().filter(is_message).count(), 1_000);
    Ok(())
}

#[test]
fn settings_and_pings_are_acknowledged_and_a_window_without_room_is_refused() -> Outcome {
    let mut session = started()?;
    let (mut data, mut output) = (Vec::new(), Vec::new());
    frame(&mut data, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 69]);
    frame(&mut data, PING, 0, 0, b"12345678");

    session.parse(&data, &mut output)?;

    assert_eq!(frames(&output)?, [(SETTINGS, ACK, 0), (PING, ACK, 0)]);
    data.clear();
    frame(&mut data, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 68]);
    assert!(session.parse(&data, &mut output).is_err());
    Ok(())
}
