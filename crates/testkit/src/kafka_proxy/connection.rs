//! A client's connection and the matching connection to the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use super::answer::refusal;
use super::versions::{is_spoken, restrict};
use super::{ProxyState, Wire, api};
use crate::lock::lock;

/// A held request, with the connection on which it will arrive.
pub(super) struct HeldRequest {
    request: Vec<u8>,
    to_broker: Arc<Mutex<TcpStream>>,
}

impl HeldRequest {
    pub(super) fn arrive(self) {
        let _ = lock(&self.to_broker).write_all(&self.request);
    }
}

/// Requests of a connection whose responses do not pass as they are, by their correlation ids.
#[derive(Default)]
struct Marked {
    /// Their responses get lost.
    unanswered: BTreeSet<i32>,
    /// They ask for the broker's versions, in this version.
    versions: BTreeMap<i32, i16>,
}

/// Forwards requests and responses, with one thread for each direction.
pub(super) fn serve(client: &TcpStream, shared: &Arc<ProxyState>) -> io::Result<()> {
    let broker = TcpStream::connect(shared.broker)?;
    for stream in [client, &broker] {
        stream.set_nodelay(true)?;
    }
    let marked = Arc::<Mutex<Marked>>::default();
    let from_client = client.try_clone()?;
    let to_client = Arc::new(Mutex::new(client.try_clone()?));
    let from_broker = broker.try_clone()?;
    let to_broker = Arc::new(Mutex::new(broker));
    let marking = Arc::clone(&marked);
    let of_requests = Arc::clone(shared);
    let answering = Arc::clone(&to_client);
    std::thread::spawn(move || {
        let _ = requests(&from_client, &to_broker, &answering, &marking, &of_requests);
        let _ = from_client.shutdown(Shutdown::Both);
        // A held request keeps the broker's side open.
        if Arc::strong_count(&to_broker) == 1 {
            let _ = lock(&to_broker).shutdown(Shutdown::Both);
        }
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = answers(&from_broker, &to_client, &marked, &shared);
        let _ = lock(&to_client).shutdown(Shutdown::Both);
    });
    Ok(())
}

fn requests(
    mut client: &TcpStream,
    to_broker: &Arc<Mutex<TcpStream>>,
    to_client: &Mutex<TcpStream>,
    marked: &Mutex<Marked>,
    shared: &ProxyState,
) -> io::Result<()> {
    loop {
        // The length, then the API key (2 bytes), its version (2) and the correlation id (4).
        let request = frame(&mut client)?;
        let api = number::<2>(&request, 4).map_or(-1, i16::from_be_bytes);
        let version = number::<2>(&request, 6).map_or(0, i16::from_be_bytes);
        let correlation = number::<4>(&request, 8).map_or(-1, i32::from_be_bytes);
        if let Some(spoken) = shared.profile.spoken {
            if !is_spoken(spoken, api, version) {
                lock(&shared.unspoken).insert((api, version));
                return Ok(());
            }
            if api == api::API_VERSIONS {
                lock(marked).versions.insert(correlation, version);
            }
        }
        let wire = shared.take(api);
        match wire {
            Some(Wire::Lost) => continue,
            Some(Wire::Cut) => return Ok(()),
            Some(Wire::Held) => {
                let to_broker = Arc::clone(to_broker);
                // No client waits for its response when it arrives.
                lock(marked).unanswered.insert(correlation);
                lock(&shared.late).push(HeldRequest { request, to_broker });
                continue;
            }
            Some(Wire::AnswerLost) => drop(lock(marked).unanswered.insert(correlation)),
            Some(Wire::Delayed(time)) => std::thread::sleep(time),
            Some(Wire::Refused(error)) => {
                if let Some(answer) = refusal(api, version, correlation, error) {
                    lock(to_client).write_all(&answer)?;
                    continue;
                }
            }
            Some(Wire::CutAfter) | None => {}
        }
        lock(to_broker).write_all(&request)?;
        if wire == Some(Wire::CutAfter) {
            return Ok(());
        }
    }
}

fn answers(
    mut broker: &TcpStream,
    client: &Arc<Mutex<TcpStream>>,
    marked: &Mutex<Marked>,
    shared: &ProxyState,
) -> io::Result<()> {
    let late = (!shared.profile.delay.is_zero()).then(|| delayed(client));
    loop {
        let mut answer = frame(&mut broker)?;
        let correlation = number::<4>(&answer, 4).map_or(-1, i32::from_be_bytes);
        let mut marked = lock(marked);
        let is_lost = marked.unanswered.remove(&correlation);
        let version = marked.versions.remove(&correlation);
        drop(marked);
        if is_lost {
            continue;
        }
        if let (Some(version), Some(spoken)) = (version, shared.profile.spoken) {
            answer = restrict(&answer, version, spoken)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its versions"))?;
        }
        point_here(&mut answer, shared);
        match &late {
            Some(late) => late
                .send((Instant::now() + shared.profile.delay, answer))
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?,
            None => lock(client).write_all(&answer)?,
        }
    }
}

/// Passes answers on when their time has come. A thread of its own sleeps, so that answers that
/// come meanwhile get their own time.
fn delayed(client: &Arc<Mutex<TcpStream>>) -> mpsc::Sender<(Instant, Vec<u8>)> {
    let (sender, answers) = mpsc::channel::<(Instant, Vec<u8>)>();
    let client = Arc::clone(client);
    std::thread::spawn(move || {
        for (due, answer) in answers {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if lock(&client).write_all(&answer).is_err() {
                return;
            }
        }
    });
    sender
}

/// A message with its length prefix.
fn frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = length.to_vec();
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Replaces the broker's address, host text followed by port, with the proxy's. Both have the same
/// length in every version of every response.
fn point_here(answer: &mut [u8], shared: &ProxyState) {
    let IpAddr::V4(host) = shared.broker.ip() else { return };
    let mut theirs = host.to_string().into_bytes();
    theirs.extend_from_slice(&i32::from(shared.broker.port()).to_be_bytes());
    let ours = i32::from(shared.port).to_be_bytes();
    let mut at = 0;
    while let Some(found) = answer[at..].windows(theirs.len()).position(|w| w == theirs) {
        at += found + theirs.len();
        answer[at - 4..at].copy_from_slice(&ours);
    }
}
