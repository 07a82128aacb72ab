//! The writer on disks that lose power and fail. The folder on the real disk holds what a power loss would leave at that moment.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    super::{
        Batch,
        disk::{Disk, Log, RealDisk},
        place_of,
        writer::Writer,
    },
    *,
};

/// A disk on which nothing is durable before it is synced, and whose operations fail on request.
#[derive(Debug, Clone, Default)]
struct PowerDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: HashMap<PathBuf, Cached>,
    /// Operations so far, and the one that fails.
    done: usize,
    fails_at: Option<usize>,
    /// Looked at before and after each operation: what was told last, and the image in force.
    watched: Option<(Place, Revisions, Option<Revisions>)>,
    /// Syncs of files.
    syncs: usize,
}

#[derive(Debug, Default)]
struct Cached {
    written: Vec<u8>,
    synced: Vec<u8>,
    is_named: bool,
    has_failed: bool,
}

#[derive(Debug)]
struct PowerLog(PowerDisk, PathBuf);

impl PowerDisk {
    /// One operation; a power loss just before or after it loses nothing of what was told.
    fn operate(&self, operation: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look();
        state.done += 1;
        if state.fails_at == Some(state.done) {
            return Err(io::Error::other("planted"));
        }
        operation(&mut state)?;
        for (path, file) in state.files.iter().filter(|(_, file)| file.is_named) {
            std::fs::write(path, &file.synced).unwrap();
        }
        state.look();
        Ok(())
    }

    fn fail_at(&self, more: usize) {
        let mut state = self.0.lock();
        state.fails_at = Some(state.done + more);
    }
}

impl State {
    fn look(&self) {
        let Some((place, image, Some(told))) = &self.watched else { return };
        let reached = replay::replay(place, image).unwrap().revisions;
        assert!(place_of(&reached) >= place_of(told), "a restart comes to {reached:?}, and {told:?} was told");
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Log>> {
        self.operate(|state| {
            assert!(state.files.insert(path.to_owned(), Cached::default()).is_none());
            Ok(())
        })?;
        Ok(Box::new(PowerLog(self.clone(), path.to_owned())))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.operate(|state| {
            state.files.values_mut().for_each(|file| file.is_named = true);
            Ok(())
        })
    }
}

impl PowerLog {
    fn operate(&self, operation: impl FnOnce(&mut Cached)) -> io::Result<()> {
        let done = self.0.operate(|state| {
            let file = state.files.get_mut(&self.1).unwrap();
            assert!(!file.has_failed, "a file that has failed is not touched any more");
            operation(file);
            Ok(())
        });
        if done.is_err() {
            self.0.0.lock().files.get_mut(&self.1).unwrap().has_failed = true;
        }
        done
    }
}

impl Log for PowerLog {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.operate(|file| file.written.extend_from_slice(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.0.lock().syncs += 1;
        self.operate(|file| file.synced.clone_from(&file.written))
    }
}

impl Drop for PowerLog {
    fn drop(&mut self) {
        // Over, or removed: it is not written again.
        self.0.0.lock().files.remove(&self.1);
    }
}

/// A writer whose promises are looked at.
struct Watched {
    disk: PowerDisk,
    place: Place,
    writer: Writer,
    image: Revisions,
    told: Option<Revisions>,
}

impl Watched {
    fn new(place: &Place) -> Self {
        let disk = PowerDisk::default();
        Self { writer: Writer::new(place.clone(), Box::new(disk.clone())), disk, place: place.clone(), image: at(0), told: None }
    }

    fn commit(&mut self, records: Vec<Record>, in_force: Option<Revisions>) -> Option<Revisions> {
        // The image is in force before the writer hears of it.
        self.image = in_force.unwrap_or(self.image);
        self.disk.0.lock().watched = Some((self.place.clone(), self.image, self.told));
        let told = self.writer.commit(Batch { records, in_force });
        // As it is told: never taken back.
        self.told = told.filter(|told| self.told.is_none_or(|before| place_of(told) > place_of(&before))).or(self.told);
        let mut state = self.disk.0.lock();
        state.watched = Some((self.place.clone(), self.image, self.told));
        state.look();
        self.told
    }

    fn files(&self) -> usize {
        replay::files(&self.place.folder).unwrap().len()
    }
}

fn authority(told: Option<Revisions>) -> Option<u64> {
    told.map(|told| told.authority)
}

#[test]
fn what_was_synced_is_told_and_a_batch_is_synced_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Watched::new(&place(&folder));

    assert_eq!(journal.commit(vec![delta(0, 1)], None), None, "what lies there from before may not have been synced by who wrote it");
    assert_eq!(authority(journal.commit(vec![], Some(at(0)))), Some(1));
    assert_eq!(authority(journal.commit(vec![delta(1, 2)], None)), Some(2));
    let before = journal.disk.0.lock().syncs;
    assert_eq!(authority(journal.commit((2..50).map(|number| delta(number, number + 1)).collect(), None)), Some(50));
    assert_eq!(journal.disk.0.lock().syncs, before + 1);
    assert_eq!(read(&journal.place, &at(0)), (50, (1..=50).collect()));
}

#[test]
fn image_takes_the_place_of_the_files_that_it_covers() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Watched::new(&place(&folder));
    journal.commit(vec![delta(0, 1)], Some(at(0)));
    journal.commit(vec![delta(1, 2), delta(2, 3)], None);

    // Made before revision 3 was applied.
    assert_eq!(authority(journal.commit(vec![], Some(at(2)))), Some(3));
    assert_eq!(journal.files(), 1, "revision 3 is in no image");
    assert_eq!(authority(journal.commit(vec![delta(3, 4)], None)), Some(4));
    assert_eq!(journal.files(), 2, "what the next image will cover is apart from what it will not");
    assert_eq!(authority(journal.commit(vec![delta(4, 5)], Some(at(4)))), Some(5));
    assert_eq!(journal.files(), 1);
    assert_eq!(authority(journal.commit(vec![], Some(at(5)))), Some(5));
    assert_eq!(journal.files(), 0);
}

/// A crash can leave an image and files of any age together.
#[test]
fn every_mixture_of_old_and_new_that_a_crash_can_leave_leads_to_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let (old, new) = (Built::of(&place, &[delta(0, 1), delta(1, 3)]), Built::of(&place, &[delta(3, 4)]));

    old.put(&place);
    assert_eq!(read(&place, &at(0)).0, 3, "the old file, the old image");
    assert_eq!(read(&place, &at(2)).0, 3, "the old file, the new image");
    new.put(&place);
    assert_eq!(read(&place, &at(0)).0, 4, "both, the old image");
    assert_eq!(read(&place, &at(3)), (4, vec![4]), "both, the new image");
    std::fs::remove_file(place.folder.join(old.id.name())).unwrap();
    assert_eq!(read(&place, &at(3)), (4, vec![4]), "the new file, the new image");
}

#[test]
fn whole_load_is_told_only_once_an_image_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Watched::new(&place(&folder));
    journal.commit(vec![delta(0, 1)], Some(at(0)));
    let epoch_2 = |before, after| Record { epoch: 2, epoch_id: Uuid::from_u128(2), ..delta(before, after) };

    journal.commit(vec![delta(1, 2)], None);
    assert_eq!(authority(journal.commit(vec![delta(2, 3), delta(5, 6)], None)), Some(3), "4 and 5 were loaded whole");
    assert_eq!(authority(journal.commit(vec![], Some(at(5)))), Some(6));
    assert_eq!(journal.commit(vec![epoch_2(2, 3)], None), Some(at(6)));
    let image = Revisions { epoch: 2, epoch_id: Uuid::from_u128(2), ..at(2) };
    assert_eq!(journal.commit(vec![], Some(image)), Some(Revisions { authority: 3, ..image }));
    assert_eq!(journal.files(), 1);
}

#[test]
fn failure_of_any_operation_ends_the_file_until_the_next_image() {
    for fails in 1..=6 {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Watched::new(&place(&folder));
        journal.commit(vec![], Some(at(0)));
        journal.disk.fail_at(fails);

        // Five operations begin a file, two go on with it.
        let told = [(0, 1), (1, 2), (2, 3)].map(|(before, after)| authority(journal.commit(vec![delta(before, after)], None)));
        let reached = told[2];
        assert!(journal.writer.has_failed(), "{fails}");
        assert_eq!(told, if fails <= 5 { [Some(0); 3] } else { [Some(1); 3] }, "{fails}");

        assert_eq!(authority(journal.commit(vec![], Some(at(2)))), Some(2), "{fails}");
        assert!(!journal.writer.has_failed());
        assert_eq!(authority(journal.commit(vec![delta(3, 4)], None)), Some(2), "3 is neither in an image nor in a file");
        assert_eq!(authority(journal.commit(vec![], Some(at(3)))), Some(4), "{fails}: {reached:?}");
    }
}

#[test]
fn full_journal_takes_nothing_until_the_next_image() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let mut journal = Watched::new(&place);
    journal.writer = Writer::new(place.clone(), Box::new(journal.disk.clone())).limited(2_000);
    journal.commit(vec![], Some(at(0)));

    let told = (0..50).map(|number| authority(journal.commit(vec![delta(number, number + 1)], None)).unwrap()).collect::<Vec<_>>();
    let full = *told.last().unwrap();
    let bytes: u64 = replay::files(&place.folder).unwrap().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();

    assert!((3..20).contains(&full) && bytes <= 2_000, "{full} {bytes}");
    assert!(!journal.writer.has_failed(), "it is no failure");
    assert_eq!(authority(journal.commit(vec![], Some(at(50)))), Some(50));
    assert_eq!(authority(journal.commit(vec![delta(50, 51)], None)), Some(51));
}

/// Seeded: records, gaps, images that are late, failures. Each operation of the disk is a place where power may go.
#[test]
fn nothing_that_was_told_is_lost_wherever_power_goes() {
    for seed in 0..20_u64 {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Watched::new(&place(&folder));
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let (mut applied, mut image, mut told_most) = (0, 0, 0);
        for _ in 0..60 {
            let mut records = Vec::new();
            for _ in 0..below(4) {
                // Now and then some were loaded whole.
                let before = applied + if below(10) == 0 { 3 } else { 0 };
                applied = before + 1 + below(2);
                records.push(delta(before, applied));
            }
            image += below(applied - image + 1);
            if below(8) == 0 {
                journal.disk.fail_at(1 + usize::try_from(below(6)).unwrap());
            }
            let in_force = (below(3) == 0).then(|| at(image));
            let told = authority(journal.commit(records, in_force)).unwrap_or(0);
            assert!(told <= applied, "seed {seed}");
            told_most = told_most.max(told);
        }
        journal.disk.0.lock().fails_at = None;
        assert_eq!(authority(journal.commit(vec![], Some(at(applied)))), Some(applied), "seed {seed}");
        assert!(told_most > 0, "seed {seed}: nothing was ever told");
        assert_eq!(journal.files(), 0, "seed {seed}");
    }
}

/// A disk whose files are all `/dev/full`.
#[derive(Debug)]
struct FullDisk;

#[derive(Debug)]
struct FullLog(std::fs::File);

impl Disk for FullDisk {
    fn create(&self, _: &Path) -> io::Result<Box<dyn Log>> {
        Ok(Box::new(FullLog(std::fs::OpenOptions::new().write(true).open("/dev/full")?)))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
}

impl Log for FullLog {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.0, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[test]
fn full_disk_and_missing_folder_are_told_and_promise_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let missing = Place { folder: place.folder.join("gone"), ..place.clone() };
    let disks: [(&Place, Box<dyn Disk>); 2] = [(&place, Box::new(FullDisk)), (&missing, Box::new(RealDisk))];
    for (place, disk) in disks {
        let mut writer = Writer::new(place.clone(), disk);
        assert_eq!(authority(writer.commit(Batch { records: vec![], in_force: Some(at(0)) })), Some(0));

        let told = writer.commit(Batch { records: vec![delta(0, 1)], in_force: None });

        assert!(writer.has_failed());
        assert_eq!(authority(told), Some(0));
        assert_eq!(authority(writer.commit(Batch { records: vec![], in_force: Some(at(1)) })), Some(1), "the image has it");
    }
}

#[test]
fn file_of_a_process_that_runs_or_holds_more_stays() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let real = || Writer::new(place.clone(), Box::new(RealDisk));
    let (mut old, mut new) = (real(), real());
    let files = || replay::files(&place.folder).unwrap().len();
    old.commit(Batch { records: vec![delta(0, 1), delta(1, 2)], in_force: None });

    new.commit(Batch { records: vec![], in_force: Some(at(2)) });
    assert_eq!(files(), 1, "its process runs");
    old.commit(Batch { records: vec![delta(2, 3)], in_force: None });
    drop(old);
    new.commit(Batch { records: vec![], in_force: Some(at(2)) });
    assert_eq!(files(), 1, "it holds more than the image");
    assert_eq!(read(&place, &at(2)), (3, vec![3]));
    new.commit(Batch { records: vec![delta(3, 4)], in_force: Some(at(3)) });
    assert_eq!(files(), 1, "the new process's own");
    assert_eq!(read(&place, &at(3)), (4, vec![4]));

    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&replay::files(&place.folder).unwrap()[0]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What nobody can use is removed, too, and nothing else is.
    std::fs::write(place.folder.join("journal-of-mine.txt"), "kept").unwrap();
    Built::of(&Place { key: SecretKey::new([9; 32]), ..place.clone() }, &[delta(0, 9)]).put(&place);
    put(&place, FileId::random().unwrap(), b"");
    new.commit(Batch { records: vec![], in_force: Some(at(4)) });
    assert_eq!(files(), 0);
    assert!(place.folder.join("journal-of-mine.txt").exists());
}
