//! Each record here makes one consumer, which bears the number of its revision: what was applied can be read off.

mod format;
mod queue;
mod writing;

use model::{
    change::{AuthorityChange, ConsumerRow, Revisions},
    id::ConsumerId,
    secret::SecretKey,
};
use uuid::Uuid;

use super::{
    Place,
    record::{FileId, Record},
    replay::{self, Replay},
};

const EPOCH_ID: Uuid = Uuid::from_u128(7);

fn place(folder: &tempfile::TempDir) -> Place {
    Place { folder: folder.path().to_owned(), key: SecretKey::new([7; 32]) }
}

fn consumer(number: u64) -> AuthorityChange {
    let id = ConsumerId::new(Uuid::from_u128(u128::from(number)));
    AuthorityChange::Consumer(ConsumerRow { id, name: format!("consumer {number}"), tenant: "acme".to_owned(), residency: None })
}

/// The delta between two revisions of epoch 1.
fn delta(before: u64, after: u64) -> Record {
    Record { epoch: 1, epoch_id: EPOCH_ID, before, after, changes: (before + 1..=after).map(consumer).collect() }
}

fn at(authority: u64) -> Revisions {
    Revisions { epoch: 1, epoch_id: EPOCH_ID, authority, ..Revisions::default() }
}

fn numbers(replay: &Replay) -> Vec<u64> {
    let number = |change: &AuthorityChange| {
        let AuthorityChange::Consumer(row) = change else { unreachable!("{change:?}") };
        row.name.strip_prefix("consumer ").unwrap().parse().unwrap()
    };
    replay.changes.iter().map(number).collect()
}

/// To which revision an image and the files lead, and what was applied on the way.
fn read(place: &Place, image: &Revisions) -> (u64, Vec<u64>) {
    let replay = replay::replay(place, image).unwrap();
    (replay.revisions.authority, numbers(&replay))
}

/// A file as its header and frames.
struct Built {
    id: FileId,
    pieces: Vec<Vec<u8>>,
}

impl Built {
    fn of(place: &Place, records: &[Record]) -> Self {
        let id = FileId::random().unwrap();
        let frames = records.iter().zip(0..).map(|(record, number)| id.frame(&place.key, number, record).unwrap().unwrap());
        Self { id, pieces: std::iter::once(id.header()).chain(frames).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    fn put(&self, place: &Place) {
        put(place, self.id, &self.bytes());
    }
}

fn put(place: &Place, id: FileId, bytes: &[u8]) {
    std::fs::write(place.folder.join(id.name()), bytes).unwrap();
}
