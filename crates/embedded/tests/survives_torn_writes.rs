//! What was acknowledged survives a power loss: unsynced writes are lost or torn, in any order.
#![allow(clippy::unwrap_used)]

mod ledger;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use headwater_embedded::LogOptions;
use ledger::support::Chance;
use ledger::{Writer, create_topics, verify};
use redb::StorageBackend;

const SECTOR: usize = 512;

/// A disk that can lose power.
#[derive(Clone, Debug, Default)]
struct Power(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    /// What a reader sees while the power is on.
    current: Vec<u8>,
    /// The contents at the last sync.
    synced: Vec<u8>,
    /// Writes since then.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// The number of operations before the power fails.
    left: Option<u64>,
}

impl Image {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Power {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.0.lock().unwrap();
        let offset = offset as usize;
        let found = image.current.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.0.lock().unwrap();
        image.spend()?;
        image.current.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.0.lock().unwrap();
        image.spend()?;
        image.synced = image.current.clone();
        image.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.0.lock().unwrap();
        image.spend()?;
        let offset = offset as usize;
        image.current[offset..offset + data.len()].copy_from_slice(data);
        image.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

impl Power {
    fn cut_after(&self, operations: u64) {
        self.0.lock().unwrap().left = Some(operations);
    }

    /// The disk when the power comes back: everything synced and, of the other writes, some
    /// complete, some partial, some missing.
    fn restore(&self, chance: &mut Chance) -> Self {
        let image = self.0.lock().unwrap();
        let mut disk = image.synced.clone();
        disk.resize(image.current.len().max(disk.len()), 0);
        for (offset, data) in &image.unsynced {
            let fate = chance.below(3);
            for (n, sector) in data.chunks(SECTOR).enumerate() {
                let is_written = match fate {
                    0 => false,
                    1 => true,
                    _ => chance.below(2) == 0,
                };
                if is_written {
                    let at = offset + n * SECTOR;
                    disk[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        let image = Image { current: disk.clone(), synced: disk, ..Image::default() };
        Self(Arc::new(Mutex::new(image)))
    }
}

/// Writes until the power fails, several times on the same disk, and checks the log each time.
fn run(seed: u64) -> usize {
    let mut chance = Chance(seed);
    let mut power = Power::default();
    let mut acknowledged = BTreeSet::new();
    let mut n = 0;
    for crash in 0..4 {
        let first = n;
        power.cut_after(40 + chance.below(400));
        let options = LogOptions::default().cache_bytes(chance.below(2) as usize * (1 << 20));
        let _ = options.clone().open_on(power.clone()).and_then(|log| {
            create_topics(&log)?;
            let mut writer = Writer::new(&log, 0)?;
            loop {
                n += 1;
                if writer.write(n)? {
                    acknowledged.insert(n);
                }
                if n % 8 == 0 {
                    log.maintain(0)?;
                }
            }
            #[allow(unreachable_code)]
            Ok(())
        });
        power = power.restore(&mut chance);
        let log = options.open_on(power.clone()).unwrap();
        create_topics(&log).unwrap();
        let visible = verify(&log).remove(0);
        let lost: Vec<_> = acknowledged.difference(&visible).collect();
        assert!(lost.is_empty(), "seed {seed}, crash {crash}: acknowledged and lost: {lost:?}");
        let more: Vec<_> = visible.difference(&acknowledged).filter(|v| **v > first).collect();
        assert!(more.len() <= 1, "seed {seed}, crash {crash}: never acknowledged: {more:?}");
        acknowledged = visible;
    }
    acknowledged.len()
}

#[test]
fn acknowledged_transactions_survive_lost_and_torn_writes() {
    let total: usize = (0..60).map(run).sum();
    assert!(total > 1000, "too few to mean anything: {total}");
}
